"""The executor's message handler.

It may be called twice, late and out of order, and each call handles a batch of messages.
"""

from collections.abc import Sequence

from services.executor.attempts import Attempts
from services.executor.refs import Refs
from shared.messaging.messages import AttemptCancelRequested, AttemptReady, LogSealed, RefWanted
from shared.tracing import traced

_STARTS_AT_ONCE = 16
"""Attempts started together. A small number keeps the first of many from waiting for the last."""


class Consumers:
    def __init__(self, attempts: Attempts, refs: Refs) -> None:
        self._attempts = attempts
        self._refs = refs

    async def on_messages(
        self, messages: Sequence[AttemptReady | AttemptCancelRequested | LogSealed | RefWanted]
    ) -> None:
        """Handle stops first, so that an attempt to be stopped is not started; then starts, then removals."""
        stops = sorted(
            {
                job
                for message in messages
                if isinstance(message, AttemptCancelRequested)
                for job in message.jobs
            }
        )
        starts = sorted(
            {job for message in messages if isinstance(message, AttemptReady) for job in message.jobs}
        )
        sealed = {
            attempt
            for message in messages
            if isinstance(message, LogSealed)
            for attempt in message.attempt_ids
        }
        if stops:
            await self._attempts.stop(stops)
        for at in range(0, len(starts), _STARTS_AT_ONCE):
            with traced():
                await self._attempts.start(starts[at : at + _STARTS_AT_ONCE])
        await self._attempts.remove(sealed)
        wanted = {
            event for message in messages if isinstance(message, RefWanted) for event in message.event_ids
        }
        if wanted:
            self._refs.begin(wanted)
