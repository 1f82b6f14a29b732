"""Handles changes of attempts in the cluster: claims new pods, abandons stuck ones, and stores verdicts.

Notifications from the cluster and reconcilers call the same functions. Decisions use an observation of the
cluster, never the content of a notification.
"""

import asyncio
from collections.abc import Collection, Mapping

from services.executor.attempt_store import AttemptStore
from services.executor.backend import Backend, Cause, Observation, Phase, Pod, Waiting
from services.executor.starting import Starting
from services.executor.store import Judged, Running, UnderWay
from services.executor.verdict import StartLimits, too_slow, verdict
from shared.crashpoint import crashpoint
from shared.tracing import set_trace


class Following:
    """Follows attempts. Safe for concurrent use, by several processes."""

    def __init__(
        self,
        attempt_store: AttemptStore,
        cluster: Backend,
        starting: Starting,
        limits: StartLimits,
        release_again_seconds: float,
    ) -> None:
        """`release_again_seconds`: age of a claim after which a pod that is still gated is released again.

        The executor that won a younger claim may still be about to release the pod.
        """
        self._attempt_store = attempt_store
        self._backend = cluster
        self._starting = starting
        self._limits = limits
        self._release_again_seconds = release_again_seconds

    async def follow(self, attempts: Collection[int]) -> int:
        """Check these attempts in the cluster and act on the result. Returns how many needed an action."""
        if not attempts:
            return 0
        async with self._attempt_store.store.reading() as work:
            rows = await work.under_way(self._attempt_store.cluster_name, attempts)
        set_trace(row.traceparent for row in rows)
        done = await self._starting.claim_known([row.attempt_id for row in rows if row.is_created])
        claimed = [row for row in rows if row.pod_uid is not None]
        if not claimed:
            return done
        seen = await self._backend.observe([self._attempt_store.name(row.attempt_id) for row in claimed])
        observations = [(row, seen.get(self._attempt_store.name(row.attempt_id))) for row in claimed]
        judged = [
            Judged(row.attempt_id, row.pod_uid, reached)
            for row, observation in observations
            if (reached := verdict(observation, row.claimed)) is not None
        ]
        over = {one.attempt_id for one in judged}
        crashpoint("executor.judged_not_stored")
        await self._attempt_store.finish(judged)
        crashpoint("executor.verdict_stored_not_cleaned")
        await asyncio.gather(
            *(
                self._backend.drop_workspace(observation.name, observation.object_uid)
                for row, observation in observations
                if row.attempt_id in over and observation
            )
        )
        return (
            done
            + len(judged)
            + await self._tend(
                [
                    (row, pod)
                    for row, observation in observations
                    if row.attempt_id not in over and (pod := _claimed_pod(row, observation))
                ]
            )
        )

    async def reconcile(self, claims: Mapping[int, str]) -> int:
        """Follow those of these claimed attempts that do not simply run. Returns how many needed an action.

        `claims` maps each attempt to the pod that holds its claim.
        """
        seen = await self._backend.observe([self._attempt_store.name(attempt) for attempt in claims])
        return await self.follow(
            [
                attempt
                for attempt, uid in claims.items()
                if not _just_runs(seen.get(self._attempt_store.name(attempt)), uid)
            ]
        )

    async def end_overlong(self, running: Mapping[int, Running]) -> int:
        """Stop jobs that still run after their time limit, which their pods should enforce.

        Returns how many.
        """
        seen = await self._backend.observe([self._attempt_store.name(attempt) for attempt in running])
        over = [
            observation
            for attempt, one in running.items()
            if (observation := seen.get(self._attempt_store.name(attempt))) is not None
            and _is_overlong(observation, one)
        ]
        await asyncio.gather(
            *(
                self._backend.stop(observation.name, running[observation.attempt_id].pod_uid)
                for observation in over
            )
        )
        return len(over)

    async def _tend(self, held_up: Collection[tuple[UnderWay, Pod]]) -> int:
        """Handle pods that have not ended. Returns how many were released again or abandoned."""
        forgotten = {
            row.attempt_id: pod.uid
            for row, pod in held_up
            if pod.phase is Phase.GATED and row.claimed_seconds >= self._release_again_seconds
        }
        await self._starting.release(forgotten)
        changed: dict[int, Waiting | None] = {
            row.attempt_id: pod.waiting
            for row, pod in held_up
            if pod.phase is Phase.RELEASED and pod.waiting != row.waiting
        }
        await self._attempt_store.note_waiting(changed)
        hopeless = [
            (row, pod.uid, cause)
            for row, pod in held_up
            if (cause := pod.obstacle or self._too_slow(row, pod)) is not None
        ]
        await asyncio.gather(
            *(
                self._backend.abandon(self._attempt_store.name(row.attempt_id), uid, cause)
                for row, uid, cause in hopeless
            )
        )
        return len(forgotten) + len(hopeless)

    def _too_slow(self, row: UnderWay, pod: Pod) -> Cause | None:
        return None if pod.waiting is None else too_slow(pod.waiting, row.claimed_seconds, self._limits)


def _claimed_pod(row: UnderWay, observation: Observation | None) -> Pod | None:
    return (
        None
        if observation is None
        else next((pod for pod in observation.pods if pod.uid == row.pod_uid), None)
    )


def _just_runs(observation: Observation | None, uid: str) -> bool:
    pod = None if observation is None else next((pod for pod in observation.pods if pod.uid == uid), None)
    return pod is not None and pod.phase is Phase.RELEASED and pod.waiting is None and pod.obstacle is None


def _is_overlong(observation: Observation, running: Running) -> bool:
    pod = next((pod for pod in observation.pods if pod.uid == running.pod_uid), None)
    return (
        pod is not None
        and pod.phase is Phase.RELEASED
        and pod.started_at is not None
        and pod.started_at <= running.over_since
    )
