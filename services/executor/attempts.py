"""The life of attempts on one cluster: made, claimed, released, judged, removed. Messages and reconcilers call the same functions.

An attempt's row is committed before anything is made for it, and its claim before user code may start. Everything may be repeated, late, and by
several executors at once: rows are changed by compare-and-set, the cluster adopts what is there.
"""

import asyncio
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import structlog
from prometheus_client import Counter

from services.executor.cluster import AttemptSpec, Cluster, NameTaken, Observation, Phase, Refused
from services.executor.planning import Candidate, OpenToken, name_of, name_taken, plan, refused
from services.executor.store import ExecutorStore, Judged, Wanted
from services.executor.verdict import Verdict, not_started, stopped, verdict
from shared.errors import Transient
from shared.messages import AttemptClaimed, AttemptFinished, ContainerStarted

_log = structlog.get_logger()
_verdicts = Counter("towpath_attempts_finished_total", "Attempts that got their verdict here", ["outcome", "reason"])


@dataclass(frozen=True, slots=True)
class Place:
    """Which cluster, of which installation."""

    cluster_name: str
    installation: str


class Attempts:
    """What can be done with attempts. Safe for concurrent use."""

    def __init__(self, store: ExecutorStore, cluster: Cluster, place: Place, open_token: OpenToken) -> None:
        self._store = store
        self._cluster = cluster
        self._place = place
        self._open_token = open_token

    async def start(self, wanted: Sequence[Wanted]) -> None:
        """Brings attempts from wherever they are to running user code. Raises Transient when some could not be brought there; the others are."""
        candidates = await self._insert(wanted)
        unclaimed = [candidate for candidate in candidates if candidate.claimed_by is None]
        answers = await asyncio.gather(*map(self._create, unclaimed), return_exceptions=True)
        claimed = await self._claim(
            [answer for answer in answers if isinstance(answer, Observation) and answer.pods],  # a cluster may take its time to make the pod
            [Judged(one.attempt_id, None, answer) for one, answer in zip(unclaimed, answers, strict=True) if isinstance(answer, Verdict)],
        )
        released = {**claimed, **{one.attempt_id: one.claimed_by for one in candidates if one.claimed_by is not None}}
        await asyncio.gather(*(self._cluster.release(self._name(attempt), uid) for attempt, uid in released.items()))
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    async def stop(self, wanted: Sequence[Wanted]) -> None:
        """Ends attempts whose stop was asked for: at once where nothing may have run, else by asking their pods."""
        async with self._store.transaction() as work:
            over = await work.insert_attempts(self._place.cluster_name, wanted, _tokens(wanted))
            stopping = await work.request_stops(self._place.cluster_name, wanted)
            over += await work.finish(
                [Judged(one.attempt_id, None, stopped(one.reason, "Stopped by request before it started.")) for one in stopping if one.pod_uid is None]
            )
            if over:
                work.send(AttemptFinished(attempt_ids=tuple(over)))
        await asyncio.gather(*(self._cluster.stop(self._name(one.attempt_id), one.pod_uid) for one in stopping if one.pod_uid is not None))
        await self.remove(over)

    async def judge(self, attempts: Collection[int]) -> int:
        """Looks at these attempts in the cluster and stores the verdicts of those that are over; how many."""
        if not attempts:
            return 0
        async with self._store.reading() as work:
            claimed = await work.to_judge(self._place.cluster_name, attempts)
        seen = await self._cluster.observe([self._name(attempt) for attempt in claimed])
        judged = []
        for attempt, claim in claimed.items():
            reached = verdict(seen.get(self._name(attempt)), claim)
            if reached is not None:
                judged.append(Judged(attempt, claim.pod_uid, reached))
        await self._finish(judged)
        over = {self._name(one.attempt_id) for one in judged}
        await asyncio.gather(*(self._cluster.drop_workspace(name, look.object_uid) for name, look in seen.items() if name in over))
        return len(judged)

    async def look_after(self, claims: dict[int, str]) -> int:
        """Releases claimed pods that wait at their gate, judges those that are over or gone; how many. Attempts with the pods that hold their claims."""
        seen = await self._cluster.observe([self._name(attempt) for attempt in claims])
        waiting = []
        quiet = set()
        for attempt, uid in claims.items():
            look = seen.get(self._name(attempt))
            phase = next((pod.phase for pod in look.pods if pod.uid == uid), None) if look else None
            if phase is Phase.GATED:
                waiting.append((attempt, uid))
            elif phase is Phase.RELEASED:
                quiet.add(attempt)
        await asyncio.gather(*(self._cluster.release(self._name(attempt), uid) for attempt, uid in waiting))
        over = [attempt for attempt in claims if attempt not in quiet and (attempt, claims[attempt]) not in waiting]
        return len(waiting) + await self.judge(over)

    async def give_up(self, attempts: Collection[int], seconds: float) -> int:
        """Ends attempts that could not be started within these seconds; how many. No answer from the cluster: no verdict. One claimed meanwhile goes on."""
        if not attempts:
            return 0
        await self._cluster.observe([self._name(attempt) for attempt in attempts])
        finished = await self._finish([Judged(attempt, None, not_started(seconds)) for attempt in attempts])
        await self.remove(finished)
        return len(finished)

    async def remove(self, attempts: Collection[int] | None) -> int:
        """Removes the objects of those that are finished and whose logs are sealed; how many. None: of all such."""
        if attempts is not None and not attempts:
            return 0
        async with self._store.reading() as work:
            gone = await work.removable(self._place.cluster_name, attempts)
        if not gone:
            return 0
        seen = await self._cluster.observe([self._name(attempt) for attempt in gone])
        answers = await asyncio.gather(*(self._cluster.remove(name, look.object_uid) for name, look in seen.items()), return_exceptions=True)
        failed = {look.attempt_id: answer for look, answer in zip(seen.values(), answers, strict=True) if isinstance(answer, BaseException)}
        async with self._store.reading() as work:
            await work.mark_removed([attempt for attempt in gone if attempt not in failed])  # one that can't be removed yet holds up no other
        for answer in failed.values():
            raise answer
        return len(gone)

    async def sweep(self) -> int:
        """Removes objects that no attempt needs; how many. The cluster is read first: every object's row was committed before it was made."""
        everything = await self._cluster.everything()
        async with self._store.reading() as work:
            wanted = await work.still_wanted([look.attempt_id for look in everything])
        leftovers = [look for look in everything if look.attempt_id not in wanted]
        for look in leftovers:
            _log.info("leftover_removed", attempt_id=look.attempt_id, name=look.name)
            await self._cluster.remove(look.name, look.object_uid)
        return len(leftovers)

    def _name(self, attempt_id: int) -> str:
        return name_of(self._place.installation, attempt_id)

    async def _insert(self, wanted: Sequence[Wanted]) -> list[Candidate]:
        async with self._store.transaction() as work:
            over = await work.insert_attempts(self._place.cluster_name, wanted, _tokens(wanted))
            if over:
                work.send(AttemptFinished(attempt_ids=tuple(over)))
            return await work.to_start(self._place.cluster_name, wanted)

    async def _create(self, candidate: Candidate) -> Observation | Verdict:
        """Raises Transient."""
        planned = plan(candidate, self._place.installation, self._open_token)
        if not isinstance(planned, AttemptSpec):
            return planned
        try:
            return await self._cluster.create(planned)
        except Refused as error:
            return refused(str(error))
        except NameTaken:
            return name_taken(planned.name)

    async def _claim(self, made: list[Observation], judged: list[Judged]) -> dict[int, str]:
        """The attempts that won, each with its pod."""
        if not made and not judged:
            return {}
        async with self._store.transaction() as work:
            claimed = await work.claim(made)
            if claimed:
                work.send(AttemptClaimed(attempt_ids=tuple(claimed)), ContainerStarted(attempt_ids=tuple(claimed)))
            finished = await work.finish(judged)
            if finished:
                work.send(AttemptFinished(attempt_ids=tuple(finished)))
        await self.remove(finished + [look.attempt_id for look in made if look.attempt_id not in claimed])
        won = set(claimed)
        return {look.attempt_id: look.pods[0].uid for look in made if look.attempt_id in won}

    async def _finish(self, judged: list[Judged]) -> list[int]:
        """Those whose verdict this is."""
        if not judged:
            return []
        async with self._store.transaction() as work:
            finished = await work.finish(judged)
            if finished:
                work.send(AttemptFinished(attempt_ids=tuple(finished)))
        for one in judged:
            if one.attempt_id in finished:
                _verdicts.labels(one.verdict.outcome, one.verdict.reason or "").inc()
                _log.info("attempt_finished", attempt_id=one.attempt_id, outcome=one.verdict.outcome, reason=one.verdict.reason)
        return finished


class Watching:
    """Turns what happens in the cluster into verdicts."""

    name = "watching"
    wait_seconds = 0.5

    def __init__(self, attempts: Attempts, cluster: Cluster) -> None:
        self._attempts = attempts
        self._cluster = cluster

    async def run(self) -> None:
        unjudged: frozenset[int] = frozenset()
        while True:
            changed = unjudged | (frozenset() if unjudged else await self._cluster.changed())
            try:
                await self._attempts.judge(changed)
                unjudged = frozenset()
            except Transient as error:
                _log.info("verdicts_wait", count=len(changed), why=str(error))
                unjudged = changed
                await asyncio.sleep(self.wait_seconds)


def _tokens(wanted: Sequence[Wanted]) -> list[str]:
    return [secrets.token_hex(16) for _ in wanted]
