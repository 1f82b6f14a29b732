"""Message handlers of the scheduler.

The bus calls the `on_…` methods. The reconciler calls `decide`, `fold` and `apply` directly. All are safe to
repeat, to run late or out of order, and to run in several replicas at once.
"""

from collections.abc import Iterable, Sequence

import structlog

from services.scheduler.admission import Admission
from services.scheduler.approvals import Forks
from services.scheduler.batches import all_or_each
from services.scheduler.commands import apply_commands, refuse_command
from services.scheduler.deliveries import Batch, decide_deliveries, record_failure
from services.scheduler.revisions import Revisions
from services.scheduler.runs import fold_runs
from services.scheduler.starts import decide_resolved
from services.scheduler.store import CONTENT_FAULTS, ROW_FAULTS, SchedulerStore
from shared.crashpoint import crashpoint
from shared.errors import Rejected
from shared.messaging.messages import (
    AttemptClaimed,
    AttemptFinished,
    CommandRequested,
    DeliveryAccepted,
    RefResolved,
)
from shared.tracing import traced

_log = structlog.get_logger()

_AT_ONCE = 500


class Consumers:
    """The message handlers, with the store, the revision cache and the admission task that they share."""

    def __init__(
        self,
        store: SchedulerStore,
        revisions: Revisions,
        admission: Admission,
        forks: Forks = Forks(),  # noqa: B008 - a value that never changes
    ) -> None:
        self._store = store
        self._forks = forks
        self._revisions = revisions
        self._admission = admission

    async def on_deliveries(self, messages: Sequence[DeliveryAccepted]) -> None:
        """Decides deliveries and creates the runs that they trigger.

        Raises Rejected, after all others are decided, for deliveries that do not exist or could not be
        decided. If the delivery's content is at fault, its outcome `failed` is stored.
        """
        asked = sorted({delivery_id for message in messages for delivery_id in message.delivery_ids})
        failed = await self.decide(asked)
        if failed:
            raise Rejected("delivery_failed", delivery_ids=failed)

    async def on_attempt_facts(self, messages: Sequence[AttemptClaimed | AttemptFinished]) -> None:
        """Applies what executors have recorded about attempts to jobs and runs.

        The messages only name the attempts; the state is read from the tables. Raises Rejected, after all
        others are folded, for runs that could not be folded (for example because this release cannot read
        them).
        """
        async with self._store.reading() as work:
            run_ids = await work.runs_of_attempts(
                {attempt_id for message in messages for attempt_id in message.attempt_ids}
            )
        failed = await self.fold(run_ids)
        if failed:
            raise Rejected("run_not_folded", run_ids=failed)

    async def on_commands(self, messages: Sequence[CommandRequested | RefResolved]) -> None:
        """Applies users' commands, each once, and decides events whose refs were resolved."""
        commands = {
            one
            for message in messages
            if isinstance(message, CommandRequested)
            for one in message.command_ids
        }
        events = {
            one for message in messages if isinstance(message, RefResolved) for one in message.event_ids
        }
        if commands:
            await self.apply(commands)
        if events and (failed := await self.resolve(events)):
            raise Rejected("event_not_decided", event_ids=failed)

    async def resolve(self, event_ids: Iterable[int]) -> list[int]:
        """Decides events whose refs were resolved; returns those that failed and stay undecided."""
        return list(await all_or_each(sorted(event_ids), self._resolve))

    async def fold(self, run_ids: Iterable[int]) -> list[int]:
        """Applies recorded attempts to these runs; returns the runs that failed and stay unchanged."""
        return list(await all_or_each(list(run_ids), self._fold))

    async def apply(self, command_ids: Iterable[int]) -> None:
        """Applies those of these commands that have no effect yet.

        A command is refused if applying it fails because of its stored content.
        """
        failed = await all_or_each(list(command_ids), self._apply)
        for command_id, fault in failed.items():
            if isinstance(fault, CONTENT_FAULTS):
                async with self._store.transaction() as work:
                    await refuse_command(work, command_id)

    async def _fold(self, run_ids: Sequence[int]) -> None:
        async with self._store.transaction() as work:
            wakes = await fold_runs(work, run_ids)
        crashpoint("scheduler.folded_not_admitted")
        self._wake(wakes)

    async def _apply(self, command_ids: Sequence[int]) -> None:
        async with self._store.transaction() as work:
            wakes = await apply_commands(
                work, self._revisions, command_ids, self._forks, self._admission.cluster
            )
        crashpoint("scheduler.command_applied_not_admitted")
        self._wake(wakes)

    async def _resolve(self, event_ids: Sequence[int]) -> None:
        async with self._store.transaction() as work:
            wakes = await decide_resolved(work, self._revisions, event_ids)
        self._wake(wakes)

    async def decide(self, ids: Sequence[int]) -> list[int]:
        """Decides any number of deliveries; returns those that failed or do not exist."""
        failed: list[int] = []
        rest = list(ids)
        while rest:
            batch = await self._decide_batch(rest[:_AT_ONCE])
            examined = [
                delivery_id
                for delivery_id in rest[:_AT_ONCE]
                if delivery_id <= max(batch.seen, default=rest[-1])
            ]
            failed += [
                delivery_id
                for delivery_id in examined
                if delivery_id in batch.failed or delivery_id not in batch.seen
            ]
            rest = rest[len(examined) :]
        return failed

    async def _decide_batch(self, ids: Sequence[int]) -> Batch:
        """Decides these deliveries in one transaction, or one by one if a delivery breaks it.

        A delivery that fails alone is logged. If its content is at fault, the outcome `failed` is stored.
        """
        with traced():
            return await self._decide_traced(ids)

    async def _decide_traced(self, ids: Sequence[int]) -> Batch:
        try:
            async with self._store.transaction() as work:
                batch = await decide_deliveries(work, self._revisions, ids, self._forks)
        except ROW_FAULTS as fault:
            if len(ids) > 1:
                return _together([await self._decide_batch([delivery_id]) for delivery_id in ids])
            _log.exception("delivery_failed", delivery_id=ids[0])
            if isinstance(fault, CONTENT_FAULTS):
                async with self._store.transaction() as work:
                    await record_failure(work, ids[0], type(fault).__name__)
            return Batch(frozenset(ids), frozenset(ids))
        crashpoint("scheduler.decided_not_admitted")
        self._wake(batch.made_ready)
        return batch

    def _wake(self, wakes: bool) -> None:
        if wakes:
            self._admission.wake()


def _together(batches: Iterable[Batch]) -> Batch:
    every = list(batches)
    return Batch(
        frozenset().union(*(batch.seen for batch in every)),
        frozenset().union(*(batch.failed for batch in every)),
    )
