"""Database writes about attempts. Each transaction also stores the messages that announce its changes."""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from prometheus_client import Counter

from services.executor.backend import Observation, Waiting
from services.executor.clusters import RegisteredCluster
from services.executor.masking import masked
from services.executor.planning import Candidate, OpenSecret, name_of
from services.executor.store import ExecutorStore, ExecutorWork, Judged, Stopping, Traces, Wanted
from services.executor.verdict import stopped
from shared.messaging.messages import AttemptClaimed, AttemptFinished, ContainerStarted
from shared.tracing import common, fields, traced

_log = structlog.get_logger()
_verdicts = Counter(
    "towpath_attempts_finished_total", "Attempts that got their verdict here", ["outcome", "reason"]
)


@dataclass(frozen=True, slots=True)
class Place:
    """A cluster's name and labels, and the installation whose attempts it runs."""

    cluster_name: str
    installation: str
    labels: Mapping[str, str] = field(default_factory=dict)


class AttemptStore:
    """The rows of attempts on one cluster.

    Every call may be repeated; it does not overwrite earlier results.
    """

    def __init__(self, store: ExecutorStore, place: Place, open_secret: OpenSecret) -> None:
        self.open_secret = open_secret
        self.store = store
        self.cluster_name = place.cluster_name
        self.installation = place.installation
        self.labels = place.labels

    def name(self, attempt_id: int) -> str:
        return name_of(self.installation, attempt_id)

    async def registered(self) -> list[RegisteredCluster]:
        async with self.store.reading() as work:
            return await work.clusters()

    async def insert(self, wanted: Sequence[Wanted]) -> list[Candidate]:
        """Insert the rows that do not exist yet, and return the attempts that are not finished."""
        async with self.store.transaction() as work:
            over = await work.insert_attempts(self.cluster_name, wanted, _tokens(wanted))
            _send_finished(work, over)
            return await work.to_start(self.cluster_name, wanted)

    async def claim(
        self, made: Sequence[Observation], judged: Sequence[Judged]
    ) -> tuple[dict[int, str], list[int]]:
        """Claim the first pods of `made` and store the verdicts `judged` in one transaction.

        Returns the attempts that won their claim, each with its pod's uid, and the attempts that are now
        finished.
        """
        if not made and not judged:
            return {}, []
        async with self.store.transaction() as work:
            claimed = await work.claim(made)
            if claimed:
                with traced(common(claimed.values())):
                    work.send(
                        AttemptClaimed(attempt_ids=tuple(claimed)),
                        ContainerStarted(attempt_ids=tuple(claimed)),
                    )
            pinned = await work.pinned_secrets([one.attempt_id for one in judged])
            judged = [masked(one, pinned.get(one.attempt_id, []), self.open_secret) for one in judged]
            finished = await work.finish(judged)
            _send_finished(work, finished)
        _tell(judged, finished)
        return {
            observation.attempt_id: observation.pods[0].uid
            for observation in made
            if observation.attempt_id in claimed
        }, list(finished)

    async def finish(self, judged: Sequence[Judged]) -> list[int]:
        """Store verdicts and return the attempts that they finished."""
        return (await self.claim([], judged))[1]

    async def stop(self, wanted: Sequence[Wanted]) -> tuple[list[Stopping], list[int]]:
        """Record that these attempts must stop; after the commit none of them can be claimed.

        Returns the claimed attempts, whose pods have to be stopped, and the attempts that this call finished.
        """
        async with self.store.transaction() as work:
            over = await work.insert_attempts(self.cluster_name, wanted, _tokens(wanted))
            stopping = await work.request_stops(self.cluster_name, wanted)
            unclaimed = [one for one in stopping if one.pod_uid is None]
            over |= await work.finish(
                [
                    Judged(one.attempt_id, None, stopped(one.reason, "Stopped by request before it started."))
                    for one in unclaimed
                ]
            )
            _send_finished(work, over)
        return [one for one in stopping if one.pod_uid is not None], list(over)

    async def note_created(self, made: Collection[Observation]) -> None:
        """Record that the objects of these attempts are in the cluster. Only the pod may be missing."""
        if made:
            async with self.store.reading() as work:
                await work.note_created(made)

    async def note_waiting(self, waiting: Mapping[int, Waiting | None]) -> None:
        """Record what these attempts wait for. A row is written only if the value has changed."""
        if waiting:
            async with self.store.reading() as work:
                await work.note_waiting(waiting)


def _send_finished(work: ExecutorWork, finished: Traces) -> None:
    if finished:
        with traced(common(finished.values())):
            work.send(AttemptFinished(attempt_ids=tuple(finished)))


def _tell(judged: Sequence[Judged], finished: Traces) -> None:
    for one in judged:
        if one.attempt_id in finished:
            _verdicts.labels(one.verdict.outcome, one.verdict.reason or "").inc()
            _log.info(
                "attempt_finished",
                attempt_id=one.attempt_id,
                outcome=one.verdict.outcome,
                reason=one.verdict.reason,
                **fields(finished[one.attempt_id]),
            )


def _tokens(wanted: Sequence[Wanted]) -> list[str]:
    return [secrets.token_hex(16) for _ in wanted]
