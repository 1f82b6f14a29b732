"""The executor's message handlers.

All may be called twice, late, out of order, and for many messages at once.
"""

from collections.abc import Sequence

from services.executor.attempts import Attempts
from shared.messages import AttemptCancelRequested, AttemptReady, LogSealed

_STARTS_AT_ONCE = 16
"""The first of many is not to wait for the last."""


class Consumers:
    def __init__(self, attempts: Attempts) -> None:
        self._attempts = attempts

    async def on_messages(
        self, messages: Sequence[AttemptReady | AttemptCancelRequested | LogSealed]
    ) -> None:
        """Stops come first, so that what is to be stopped need not be started."""
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
            await self._attempts.start(starts[at : at + _STARTS_AT_ONCE])
        await self._attempts.remove(sealed)
