"""From an admitted job to running user code: the row, the objects, the claim, the release, in this order.

An attempt's row is committed before anything is made for it, and its claim before user code may start.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from services.executor.cluster import (
    AttemptSpec,
    Cluster,
    MustWait,
    NameTaken,
    Observation,
    Phase,
    Refused,
    Waiting,
)
from services.executor.ledger import Ledger
from services.executor.planning import Candidate, OpenToken, name_taken, plan, refused
from services.executor.removing import Removing
from services.executor.store import Judged, Overdue, Wanted
from services.executor.verdict import StartLimits, Verdict, not_started, over_quota
from shared.crashpoint import crashpoint
from shared.statuses import WaitingFor


class Starting:
    """Safe for concurrent use, by several processes."""

    def __init__(
        self, ledger: Ledger, cluster: Cluster, removing: Removing, open_token: OpenToken, limits: StartLimits
    ) -> None:
        self._ledger = ledger
        self._cluster = cluster
        self._removing = removing
        self._open_token = open_token
        self._limits = limits

    async def start(self, wanted: Sequence[Wanted]) -> None:
        """Brings attempts from wherever they are to running user code.

        Raises Transient when some could not be brought there; the others are.
        """
        candidates = await self._ledger.insert(wanted)
        crashpoint("executor.inserted_not_created")
        unclaimed = [candidate for candidate in candidates if candidate.claimed_by is None]
        answers = await asyncio.gather(*map(self._create_alone, unclaimed), return_exceptions=True)
        crashpoint("executor.created_not_claimed")
        made = [answer for answer in answers if isinstance(answer, Observation)]
        await self._ledger.note_waiting(
            {
                one.attempt_id: answer
                for one, answer in zip(unclaimed, answers, strict=True)
                if isinstance(answer, Waiting)
            }
        )
        refusals = [
            Judged(one.attempt_id, None, answer)
            for one, answer in zip(unclaimed, answers, strict=True)
            if isinstance(answer, Verdict)
        ]
        await self._claim([look for look in made if look.pods], refusals)
        await self._leave_to_the_cluster([look for look in made if not look.pods])
        claimed = {one.attempt_id: one.claimed_by for one in candidates if one.claimed_by is not None}
        await self.release(claimed)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    async def claim_known(self, attempts: Collection[int]) -> int:
        """Claims and releases the pods of attempts whose objects are complete, as far as they are known here;
        how many.
        """
        if not attempts:
            return 0
        seen = await self._cluster.known([self._ledger.name(attempt) for attempt in attempts])
        gated = [look for look in seen.values() if _is_gated(look)]
        await self._claim(gated, [])
        return len(gated)

    async def look_after_created(self, created: Mapping[int, Wanted]) -> int:
        """Attempts whose objects are complete and that are not claimed: claims those that can be, and says
        why the others wait; how many changed.
        """
        seen = await self._cluster.observe([self._ledger.name(attempt) for attempt in created])
        looks = {attempt: seen.get(self._ledger.name(attempt)) for attempt in created}
        gated = [look for look in looks.values() if look is not None and _is_gated(look)]
        hopeless = {
            attempt: look.refusal
            for attempt, look in looks.items()
            if look is not None and look.refusal is not None
        }
        await self._ledger.note_waiting(
            {
                attempt: look.waiting
                for attempt, look in looks.items()
                if look is not None and not _is_gated(look)
            }
        )
        await self._claim(gated, [Judged(attempt, None, refused(why)) for attempt, why in hopeless.items()])
        lost = [wanted for attempt, wanted in created.items() if _is_lost(looks[attempt])]
        if lost:
            await self.start(lost)
        return len(gated) + len(hopeless) + len(lost)

    async def give_up(self, overdue: Sequence[Overdue]) -> int:
        """Ends attempts that could not be started in time; how many.

        No answer from the cluster: no verdict. One that can be claimed goes on.
        """
        if not overdue:
            return 0
        seen = await self._cluster.observe([self._ledger.name(one.attempt_id) for one in overdue])
        judged = [
            Judged(one.attempt_id, None, reached)
            for one in overdue
            if (reached := _too_late(one, seen.get(self._ledger.name(one.attempt_id)), self._limits))
        ]
        finished = await self._ledger.finish(judged)
        await self._removing.remove(finished)
        return len(finished)

    async def release(self, pods: Mapping[int, str]) -> None:
        """Opens the gates of pods whose claims have committed."""
        await asyncio.gather(
            *(self._cluster.release(self._ledger.name(attempt), uid) for attempt, uid in pods.items())
        )

    async def _create_alone(self, candidate: Candidate) -> Observation | Verdict | Waiting:
        """Never beside a pod of the attempt before that may still run. Raises Transient."""
        before = candidate.before
        if before is not None and before.claimed_seconds < self._limits.pod_seconds(candidate.job):
            name = self._ledger.name(before.attempt_id)
            look = (await self._cluster.observe([name])).get(name)
            if look is not None and any(pod.uid == before.pod_uid and pod.lingers for pod in look.pods):
                return Waiting(
                    WaitingFor.NODE, "The pod of the attempt before may still run: its node does not answer."
                )
        return await self._create(candidate)

    async def _create(self, candidate: Candidate) -> Observation | Verdict | Waiting:
        """Raises Transient."""
        planned = plan(candidate, self._ledger.installation, self._open_token)
        if not isinstance(planned, AttemptSpec):
            return planned
        try:
            return await self._cluster.create(planned)
        except Refused as error:
            return refused(str(error))
        except NameTaken:
            return name_taken(planned.name)
        except MustWait as error:
            return error.waiting

    async def _claim(self, made: Sequence[Observation], judged: Sequence[Judged]) -> None:
        """Those that win are released; what was made for the others goes."""
        won, finished = await self._ledger.claim(made, judged)
        crashpoint("executor.claimed_not_released")
        await self._removing.remove(
            finished + [look.attempt_id for look in made if look.attempt_id not in won]
        )
        await self.release(won)
        crashpoint("executor.released_not_acked")

    async def _leave_to_the_cluster(self, made: Sequence[Observation]) -> None:
        """The cluster makes their pods when it can.

        One that came before the row said so is claimed here, all others where they are heard of.
        """
        await self._ledger.note_created(made)
        await self.claim_known([look.attempt_id for look in made])


def _is_gated(look: Observation) -> bool:
    return bool(look.pods) and look.pods[0].phase is Phase.GATED


def _is_lost(look: Observation | None) -> bool:
    """Whether the objects will never bring forth a pod to claim: they are gone, or their pod is."""
    return look is None or (look.refusal is None and look.waiting is None and not _is_gated(look))


def _too_late(overdue: Overdue, look: Observation | None, limits: StartLimits) -> Verdict | None:
    if look is not None and look.pods:
        return None
    waiting = overdue.waiting if look is None or look.waiting is None else look.waiting
    if (
        waiting is not None and waiting.what is WaitingFor.NODE
    ):  # for the attempt before, which has its own end
        return None
    if waiting is None or waiting.what is not WaitingFor.QUOTA:
        return not_started(limits.unclaimed_seconds, "" if waiting is None else waiting.message)
    return (
        over_quota(limits.quota_seconds, waiting.message) if overdue.seconds >= limits.quota_seconds else None
    )
