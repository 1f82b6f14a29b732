"""The Kubernetes backend: a Job for each attempt, whose one pod waits at a scheduling gate for its claim.

The Kubernetes objects are the only lasting state. Two watches keep a copy of them in memory (`ObjectCache`),
which answers most questions without a request. Everything that the copy shows has been true and is used. If
it does not show an object, the API server is asked before any conclusion.
"""

import asyncio
import time
from collections.abc import Collection, Coroutine
from dataclasses import dataclass, replace
from typing import Any, Self

import structlog
from prometheus_client import Counter

from services.executor.backend import AttemptSpec, Cause, Observation, Phase, Pod, Waiting
from services.executor.kubernetes.creating import Maker, refuse_for_now
from services.executor.kubernetes.informer import Informer, Kind
from services.executor.kubernetes.listing import Found, Place, complaints, read, weigh_complaint
from services.executor.kubernetes.manifest import PodSettings
from services.executor.kubernetes.names import GATE
from services.executor.kubernetes.object_cache import Held, ObjectCache
from services.executor.kubernetes.objects import ENDED_BECAUSE, JobSeen, PodSeen, job_seen, pod_seen
from services.executor.kubernetes.outputs import OutputsReader
from services.executor.kubernetes.pod_startup import has_begun
from services.executor.kubernetes.pod_status import (
    STOPPED_DEADLINE_SECONDS,
    PodContext,
    lingers,
    mark_of,
    pod_of,
    recheck_seconds,
    stage,
)
from shared.crashpoint import crashpoint
from shared.errors import Transient
from shared.kubernetes.client import ApiError, KubernetesApi, Object

_log = structlog.get_logger()
_second_pods = Counter(
    "towpath_kubernetes_second_pods_total",
    "Pods that a Job made beside the one that was there; they stay gated",
)

_OBSERVATIONS_AT_ONCE = 100
_CHANCE_SECONDS = 30.0
_POD_NOT_MADE = Waiting(None, "The cluster has not made the Job's pod yet.")
_GOING_SECONDS = 60.0
"""Time that the garbage collector has to delete the pods of a deleted Job.

Pods that exist longer count as left behind.
"""
_TOLD_SECONDS = 30.0
"""Time that a watch has to report an opened gate. After that, `release` opens the gate again."""
_STOP_SECONDS = 15.0
"""Time after the grace period at which a pod that was asked to end, but still runs, is deleted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendOptions:
    """Options of the Kubernetes backend."""

    watch_seconds: float
    log_scheme: str
    """`kubernetes`: logs are read through the API server; `node`: by an agent on each node."""


@dataclass(slots=True)
class _Ending:
    """A pod that this process has asked to end."""

    asked_at: float
    stopped: bool = False
    abandoned: Cause | None = None


class KubernetesBackend:
    """The Kubernetes backend. Use it as `async with`; leaving the block leaves every pod running."""

    def __init__(
        self, api: KubernetesApi, place: Place, settings: PodSettings, options: BackendOptions
    ) -> None:
        self._api = api
        self._place = place
        self._log_scheme = options.log_scheme
        self._node_lost_seconds = settings.node_lost_seconds
        self._maker = Maker(api, place, settings)
        self._reader = OutputsReader(api, place.pods, settings.node_lost_seconds)
        self._jobs: ObjectCache[JobSeen] = ObjectCache(lambda _: None, time.monotonic)
        self._pods: ObjectCache[PodSeen] = ObjectCache(stage, time.monotonic)
        jobs = Kind("jobs", place.jobs, place.selector, lambda one: job_seen(one, place.installation))
        pods = Kind("pods", place.pods, place.selector, lambda one: pod_seen(one, place.installation))
        self._job_watch = Informer(api, jobs, self._jobs, options.watch_seconds)
        self._pod_watch = Informer(api, pods, self._pods, options.watch_seconds)
        self._endings: dict[str, _Ending] = {}
        self._seconds: set[str] = set()
        self._going: dict[str, float] = {}
        self._changes: set[int] = set()
        self._woken = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        for watch in (self._job_watch.run(self._note), self._pod_watch.run(self._note_pods)):
            task = asyncio.create_task(watch)
            task.add_done_callback(lambda _: self._woken.set())
            self._tasks.append(task)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def create(self, spec: AttemptSpec) -> Observation:
        job = await self._maker.make(spec)
        pods = [
            held
            for held in self._pods.of(spec.attempt_id)
            if held.seen.job_uid == job.uid and held.gone_at is None
        ]
        return self._observation(spec.attempt_id, job, pods)

    async def observe(self, names: Collection[str]) -> dict[str, Observation]:
        shown = await self.known(names)
        alone = {
            attempt
            for name in names
            if (attempt := self._attempt(name)) is not None and not self._is_there(shown.get(name))
        }
        if alone:
            shown |= await self._read(alone)
        completed = await asyncio.gather(*map(self._with_outputs, shown.values()))
        return {observation.name: observation for observation in completed}

    async def known(self, names: Collection[str]) -> dict[str, Observation]:
        shown = {}
        for number, name in enumerate(names):
            if number % _OBSERVATIONS_AT_ONCE == _OBSERVATIONS_AT_ONCE - 1:
                await asyncio.sleep(0)  # with thousands of pods, let other tasks run
            attempt = self._attempt(name)
            if attempt is not None and (found := self._cached(attempt)) is not None:
                shown[name] = found
        return shown

    async def everything(self) -> list[Observation]:
        if not (self._job_watch.synced.is_set() and self._pod_watch.synced.is_set()):
            raise Transient("Kubernetes: the objects have not been listed yet")
        attempts = self._jobs.attempts() | self._pods.attempts()
        self._going = {uid: at for uid, at in self._going.items() if time.monotonic() - at < _GOING_SECONDS}
        shown = await self.known([self._place.name(attempt) for attempt in attempts])
        return [observation for observation in shown.values() if observation.object_uid not in self._going]

    async def release(self, name: str, pod_uid: str) -> None:
        pod = await self._pod(name, pod_uid)
        if pod is None or not pod.gated:
            return
        held = self._held_as(name, pod_uid) or Held(pod, time.monotonic())
        if held.released_at is not None and time.monotonic() - held.released_at < _TOLD_SECONDS:
            return
        # A message, the watch and a reconciler may release the pod at the same time.
        held.released_at, is_open = time.monotonic(), False
        gates = [{"$patch": "delete", "name": GATE}]
        try:
            crashpoint("kubernetes.gate_not_opened")
            is_open = await self._change(
                pod, {"metadata": {"uid": pod_uid}, "spec": {"schedulingGates": gates}}
            )
        finally:
            if not is_open:
                held.released_at = None
        crashpoint("kubernetes.gate_opened_not_acked")

    async def stop(self, name: str, pod_uid: str) -> None:
        pod = await self._pod(name, pod_uid)
        if pod is None or pod.is_over or pod.job.terminated is not None:
            return
        ending = self._endings.setdefault(pod_uid, _Ending(time.monotonic()))
        if not pod.node or _is_overdue(pod, ending):
            ending.stopped = True
            await self._delete(pod)
        elif pod.active_deadline_seconds != STOPPED_DEADLINE_SECONDS:
            await self._change(
                pod,
                {"metadata": {"uid": pod_uid}, "spec": {"activeDeadlineSeconds": STOPPED_DEADLINE_SECONDS}},
            )

    async def abandon(self, name: str, pod_uid: str, cause: Cause) -> None:
        """End a pod that cannot start, or whose user code has started on a node that does not answer.

        Does nothing for some seconds after an outage, so that every pod first has a chance to continue.
        """
        if time.monotonic() - max(self._job_watch.back_at, self._pod_watch.back_at) < _CHANCE_SECONDS:
            return
        pod = await self._fresh_pod(name, pod_uid)
        if (
            pod is None
            or pod.is_over
            or pod.deleted_at is not None
            or not (pod.unreachable or not has_begun(pod))
        ):
            return
        ending = self._endings.setdefault(pod_uid, _Ending(time.monotonic()))
        if pod.node and pod.active_deadline_seconds != STOPPED_DEADLINE_SECONDS:
            metadata = {
                "uid": pod_uid,
                "resourceVersion": pod.version,
                "annotations": {ENDED_BECAUSE: mark_of(cause)},
            }
            await self._change(
                pod, {"metadata": metadata, "spec": {"activeDeadlineSeconds": STOPPED_DEADLINE_SECONDS}}
            )
        elif not pod.node or pod.unreachable or _is_overdue(pod, ending):
            ending.abandoned = cause
            if not await self._delete(pod, {"resourceVersion": pod.version}):
                ending.abandoned = None

    async def drop_workspace(self, name: str, object_uid: str) -> None:
        """Do nothing: the workspace is deleted with the pod."""

    async def remove(self, name: str, object_uid: str) -> None:
        attempt = self._attempt(name)
        if attempt is None:
            return
        pods = [held.seen for held in self._pods.of(attempt) if held.seen.job_uid == object_uid]
        if object_uid in self._going:  # a message and a reconciler may remove it at the same time
            return
        self._going[object_uid] = time.monotonic()
        try:
            deleted = await self._maker.delete_job(name, object_uid)
        except BaseException:
            del self._going[object_uid]
            raise
        if not deleted:
            for pod in pods:  # left behind by a Job that was deleted without its pods
                await self._delete(pod)
        for pod in pods:
            self._endings.pop(pod.uid, None)
            self._seconds.discard(pod.uid)
        self._jobs.forget(attempt)
        self._pods.forget(attempt)

    async def changed(self) -> frozenset[int]:
        await self._woken.wait()
        self._woken.clear()
        for task in self._tasks:
            if task.done():
                task.result()  # raises: a watch only ends with an error
        changes, self._changes = frozenset(self._changes), set()
        return changes

    # ------------------------------------------------ observations

    def _attempt(self, name: str) -> int | None:
        """Return the attempt with this name, or None if it is not a name of this installation."""
        number = name.rpartition("-")[2]
        return int(number) if number.isdecimal() and self._place.name(int(number)) == name else None

    def _cached(self, attempt: int) -> Observation | None:
        pods = self._pods.of(attempt)
        jobs = sorted(self._jobs.of(attempt), key=lambda held: held.gone_at is not None)
        job = jobs[0] if jobs else None
        if not pods and (job is None or job.gone_at is not None):
            return None
        return self._observation(attempt, job.seen if job else None, pods)

    @staticmethod
    def _is_there(shown: Observation | None) -> bool:
        """Return whether the observation has a pod, so that no fresh read is needed."""
        return shown is not None and bool(shown.pods)

    async def _read(self, attempts: set[int]) -> dict[str, Observation]:
        """Read these attempts from the API server, and add what was last seen of deleted pods."""
        try:
            found = await read(self._api, self._place, attempts)
            without = [one.job for one in found.values() if one.job is not None and not one.pods]
            said = await complaints(self._api, self._place) if without else {}
        except ApiError as error:
            refuse_for_now(error)
        shown = {}
        for attempt, one in found.items():
            held = self._held(attempt, one)
            if one.job is not None or held:
                complaint = said.get(one.job.uid) if one.job is not None and not held else None
                shown[self._place.name(attempt)] = self._observation(attempt, one.job, held, complaint)
        return shown

    def _held(self, attempt: int, found: Found) -> list[Held[PodSeen]]:
        known = {held.seen.uid: held for held in self._pods.of(attempt)}
        now = time.monotonic()
        there = [
            Held(pod, known[pod.uid].since, None, known[pod.uid].end) if pod.uid in known else Held(pod, now)
            for pod in found.pods
        ]
        uids = {pod.uid for pod in found.pods}
        return there + [held for uid, held in known.items() if uid not in uids and held.gone_at is not None]

    def _observation(
        self, attempt: int, job: JobSeen | None, pods: Collection[Held[PodSeen]], complaint: str | None = None
    ) -> Observation:
        ordered = sorted(
            pods, key=lambda held: (held.gone_at is not None, held.seen.created_at, held.seen.uid)
        )
        first = ordered[0].seen if ordered else None
        weighed = weigh_complaint(complaint) if complaint is not None else None
        if complaint is None and first is None and job is not None and not job.is_over:
            weighed = _POD_NOT_MADE
        return Observation(
            name=self._place.name(attempt),
            attempt_id=attempt,
            object_uid=job.uid if job is not None else first.job_uid if first is not None else "",
            creation_token=job.creation_token if job is not None else "",
            pods=tuple(self._weighed(held) for held in ordered),
            log_location=f"{self._log_scheme}:///{self._place.namespace}/{first.name}/{first.uid}"
            if first is not None
            else "",
            containers=first.containers if first is not None else (),
            waiting=weighed if isinstance(weighed, Waiting) else None,
            refusal=weighed if isinstance(weighed, str) else None,
        )

    async def _with_outputs(self, observation: Observation) -> Observation:
        """Add the outputs that ended pods have printed."""
        pods = await asyncio.gather(
            *(self._complete(pod, observation.attempt_id) for pod in observation.pods)
        )
        return replace(observation, pods=tuple(pods))

    async def _complete(self, pod: Pod, attempt: int) -> Pod:
        if pod.end is None or pod.end.outputs is not None:
            return pod
        held = next((held for held in self._pods.of(attempt) if held.seen.uid == pod.uid), None)
        completed = await self._reader.complete(pod, 0.0 if held is None else time.monotonic() - held.since)
        if held is not None and held.end is not None and completed.end is not None:
            held.end = replace(held.end, end=completed.end)  # the log is read once
        return completed

    def _weighed(self, held: Held[PodSeen]) -> Pod:
        if held.end is not None:
            return replace(held.end, lingers=lingers(held.seen, held.gone_at is not None))
        ending = self._endings.get(held.seen.uid) or _Ending(0.0)
        context = PodContext(
            seconds=time.monotonic() - held.since,
            gone=held.gone_at is not None,
            stopped=ending.stopped,
            abandoned=ending.abandoned,
            node_lost_seconds=self._node_lost_seconds,
        )
        pod = pod_of(held.seen, context)
        if pod.phase is Phase.ENDED:
            held.end = pod
        return pod

    # ------------------------------------------------ changes

    async def _pod(self, name: str, pod_uid: str) -> PodSeen | None:
        """Return the pod from the mirror, which may be old, else from the API server."""
        held = self._held_as(name, pod_uid)
        if held is None:
            return await self._fresh_pod(name, pod_uid)
        return held.seen if held.gone_at is None else None

    def _held_as(self, name: str, pod_uid: str) -> Held[PodSeen] | None:
        attempt = self._attempt(name)
        return (
            None
            if attempt is None
            else next((held for held in self._pods.of(attempt) if held.seen.uid == pod_uid), None)
        )

    async def _fresh_pod(self, name: str, pod_uid: str) -> PodSeen | None:
        attempt = self._attempt(name)
        if attempt is None:
            return None
        try:
            found = (await read(self._api, self._place, [attempt]))[attempt]
        except ApiError as error:
            refuse_for_now(error)
        return next((pod for pod in found.pods if pod.uid == pod_uid), None)

    async def _change(self, pod: PodSeen, patch: Object) -> bool:
        """Patch the pod. Returns False if it is gone or is no longer the same."""
        return await self._left_alone(
            self._api.patch(f"{self._place.pods}/{pod.name}", patch, kind="strategic")
        )

    async def _delete(self, pod: PodSeen, preconditions: Object | None = None) -> bool:
        options = {
            "propagationPolicy": "Background",
            "preconditions": {"uid": pod.uid, **(preconditions or {})},
        }
        return await self._left_alone(self._api.delete(f"{self._place.pods}/{pod.name}", options))

    async def _left_alone(self, request: Coroutine[Any, Any, Object]) -> bool:
        """Await the request. Returns False if the pod is gone or is no longer the same."""
        try:
            await request
        except ApiError as error:
            if error.status not in (404, 409, 422):
                refuse_for_now(error)
            return False
        return True

    # ------------------------------------------------ notifications

    def _note(self, attempts: frozenset[int]) -> None:
        if attempts:
            self._changes |= attempts
            self._woken.set()

    def _note_pods(self, attempts: frozenset[int]) -> None:
        self._note(attempts)
        loop = asyncio.get_running_loop()
        for attempt in attempts:
            for held in self._pods.of(attempt):
                self._weighed(held)  # stores a certain end before the pod can change or be deleted
            there = [held.seen for held in self._pods.of(attempt) if held.gone_at is None]
            for pod in there:
                if (later := recheck_seconds(pod)) is not None:
                    loop.call_later(later, self._note, frozenset({attempt}))
            self._count_seconds(sorted(there, key=lambda pod: (pod.created_at, pod.uid)))

    def _count_seconds(self, there: list[PodSeen]) -> None:
        for pod in there[1:]:
            if pod.gated and pod.uid not in self._seconds:
                self._seconds.add(pod.uid)
                _second_pods.inc()
                _log.warning("second_pod_left_gated", attempt_id=pod.attempt_id, pod=pod.name)


def _is_overdue(pod: PodSeen, ending: _Ending) -> bool:
    """Return whether the pod should have ended by now, because it was asked to."""
    return time.monotonic() - ending.asked_at > pod.stop_grace_seconds + _STOP_SECONDS
