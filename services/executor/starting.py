"""Starts attempts: from an admitted job to running user code.

1. `start` inserts the attempt's row and commits it.
2. The cluster creates the attempt's objects, with a gated pod.
3. The claim names one pod in the row, by compare-and-set. The messages are stored in the same transaction.
4. After the commit, the cluster opens the gate of this pod, and its user code starts.

If the pod appears later than the other objects, the row becomes `created`, and the pod is claimed once the
cluster reports it or a reconciler finds it.

Failures:
- The executor dies after step 1 or 2: a redelivered message or a reconciler calls `start` again, and the
  cluster adopts the objects with the same creation token.
- The executor dies after step 3: the claimed pod stays gated until `start` or `Following` releases it again.
- Two executors start the same attempt: the second adopts the objects of the first. Both may claim and release
  the same pod, which is safe to repeat; a claim for another pod fails.
- A stop is requested: from then on no claim succeeds.
- The cluster has no room: the reason is recorded, and a reconciler calls `start` again.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence

from services.executor.attempt_store import AttemptStore
from services.executor.backend import (
    AttemptSpec,
    Backend,
    MustWait,
    NameTaken,
    Observation,
    Phase,
    Refused,
    Waiting,
)
from services.executor.clusters import none_offers, offers
from services.executor.planning import Candidate, OpenToken, name_taken, plan, refused
from services.executor.removing import Removing
from services.executor.store import Judged, Overdue, Wanted
from services.executor.verdict import StartLimits, Verdict, not_started, over_quota
from shared.crashpoint import crashpoint
from shared.statuses import WaitingFor
from shared.tracing import set_trace, traced


class Starting:
    """Starts attempts. Safe for concurrent use, by several processes."""

    def __init__(
        self,
        attempt_store: AttemptStore,
        cluster: Backend,
        removing: Removing,
        open_token: OpenToken,
        limits: StartLimits,
    ) -> None:
        """Secrets are decrypted by the attempt store's function."""
        self._attempt_store = attempt_store
        self._backend = cluster
        self._removing = removing
        self._open_token = open_token
        self._limits = limits

    async def start(self, wanted: Sequence[Wanted]) -> None:
        """Start these attempts, from any step that they have reached.

        Raises Transient if some could not be started; the others are.
        """
        candidates = await self._attempt_store.insert(wanted)
        set_trace(candidate.traceparent for candidate in candidates)
        crashpoint("executor.inserted_not_created")
        unclaimed = [candidate for candidate in candidates if candidate.claimed_by is None]
        answers = await asyncio.gather(*map(self._create_alone, unclaimed), return_exceptions=True)
        crashpoint("executor.created_not_claimed")
        made = [answer for answer in answers if isinstance(answer, Observation)]
        await self._attempt_store.note_waiting(
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
        await self._claim([observation for observation in made if observation.pods], refusals)
        await self._leave_to_the_cluster([observation for observation in made if not observation.pods])
        claimed = {one.attempt_id: one.claimed_by for one in candidates if one.claimed_by is not None}
        await self.release(claimed)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer

    async def claim_known(self, attempts: Collection[int]) -> int:
        """Claim and release the gated pods of these attempts that this process knows about.

        The objects of the attempts must be complete. Returns the number of gated pods.
        """
        if not attempts:
            return 0
        seen = await self._backend.known([self._attempt_store.name(attempt) for attempt in attempts])
        gated = [observation for observation in seen.values() if _is_gated(observation)]
        await self._claim(gated, [])
        return len(gated)

    async def reconcile_created(self, created: Mapping[int, Wanted]) -> int:
        """Check attempts whose objects are complete and that are not claimed.

        Claims gated pods, records why others wait, finishes attempts that the cluster refuses, and starts
        attempts again whose objects or pods are gone. Returns how many attempts changed.
        """
        seen = await self._backend.observe([self._attempt_store.name(attempt) for attempt in created])
        observations = {attempt: seen.get(self._attempt_store.name(attempt)) for attempt in created}
        gated = [
            observation
            for observation in observations.values()
            if observation is not None and _is_gated(observation)
        ]
        hopeless = {
            attempt: observation.refusal
            for attempt, observation in observations.items()
            if observation is not None and observation.refusal is not None
        }
        await self._attempt_store.note_waiting(
            {
                attempt: observation.waiting
                for attempt, observation in observations.items()
                if observation is not None and not _is_gated(observation)
            }
        )
        await self._claim(gated, [Judged(attempt, None, refused(why)) for attempt, why in hopeless.items()])
        lost = [wanted for attempt, wanted in created.items() if _is_lost(observations[attempt])]
        if lost:
            await self.start(lost)
        return len(gated) + len(hopeless) + len(lost)

    async def give_up(self, overdue: Sequence[Overdue]) -> int:
        """Finish attempts that could not be started in time. Returns how many.

        If the cluster does not answer, no attempt is finished. An attempt with a pod is left alone.
        """
        if not overdue:
            return 0
        seen = await self._backend.observe([self._attempt_store.name(one.attempt_id) for one in overdue])
        judged = [
            Judged(one.attempt_id, None, reached)
            for one in overdue
            if (reached := _too_late(one, seen.get(self._attempt_store.name(one.attempt_id)), self._limits))
        ]
        finished = await self._attempt_store.finish(judged)
        await self._removing.remove(finished)
        return len(finished)

    async def release(self, pods: Mapping[int, str]) -> None:
        """Open the gates of pods whose claims have committed."""
        await asyncio.gather(
            *(self._backend.release(self._attempt_store.name(attempt), uid) for attempt, uid in pods.items())
        )

    async def _create_alone(self, candidate: Candidate) -> Observation | Verdict | Waiting:
        """Create the objects, unless a pod of the previous attempt may still run. Raises Transient.

        Runs in a task of its own.
        """
        with traced(candidate.traceparent):
            return await self._create_after(candidate)

    async def _create_after(self, candidate: Candidate) -> Observation | Verdict | Waiting:
        before = candidate.before
        if before is not None and before.claimed_seconds < self._limits.pod_seconds(candidate.job):
            name = self._attempt_store.name(before.attempt_id)
            observation = (await self._backend.observe([name])).get(name)
            if observation is not None and any(
                pod.uid == before.pod_uid and pod.lingers for pod in observation.pods
            ):
                return Waiting(
                    WaitingFor.NODE, "The pod of the attempt before may still run: its node does not answer."
                )
        return await self._create(candidate)

    async def _create(self, candidate: Candidate) -> Observation | Verdict | Waiting:
        """Create the objects, or return why that is not possible or has to wait. Raises Transient."""
        if not offers(self._attempt_store.labels, candidate.job.cluster):
            return refused(none_offers(candidate.job.cluster, await self._attempt_store.registered()))
        planned = plan(
            candidate, self._attempt_store.installation, self._open_token, self._attempt_store.open_secret
        )
        if not isinstance(planned, AttemptSpec):
            return planned
        try:
            return await self._backend.create(planned)
        except Refused as error:
            return refused(str(error))
        except NameTaken:
            return name_taken(planned.name)
        except MustWait as error:
            return error.waiting

    async def _claim(self, made: Sequence[Observation], judged: Sequence[Judged]) -> None:
        """Claim these pods, release those that won, and remove the objects of finished attempts."""
        won, finished = await self._attempt_store.claim(made, judged)
        crashpoint("executor.claimed_not_released")
        await self._removing.remove(
            finished + [observation.attempt_id for observation in made if observation.attempt_id not in won]
        )
        await self.release(won)
        crashpoint("executor.released_not_acked")

    async def _leave_to_the_cluster(self, made: Sequence[Observation]) -> None:
        """Record that the cluster creates the pods of these attempts when it can.

        Also claims pods that appeared before this record was committed. Later pods are claimed when the
        cluster reports them.
        """
        await self._attempt_store.note_created(made)
        await self.claim_known([observation.attempt_id for observation in made])


def _is_gated(observation: Observation) -> bool:
    return bool(observation.pods) and observation.pods[0].phase is Phase.GATED


def _is_lost(observation: Observation | None) -> bool:
    """Return whether there will be no pod to claim, because the objects or their pod are gone."""
    return observation is None or (
        observation.refusal is None and observation.waiting is None and not _is_gated(observation)
    )


def _too_late(overdue: Overdue, observation: Observation | None, limits: StartLimits) -> Verdict | None:
    if observation is not None and observation.pods:
        return None
    waiting = overdue.waiting if observation is None or observation.waiting is None else observation.waiting
    # A wait for the node of the previous attempt's pod has its own limit.
    if waiting is not None and waiting.what is WaitingFor.NODE:
        return None
    if waiting is None or waiting.what is not WaitingFor.QUOTA:
        return not_started(limits.unclaimed_seconds, "" if waiting is None else waiting.message)
    return (
        over_quota(limits.quota_seconds, waiting.message) if overdue.seconds >= limits.quota_seconds else None
    )
