"""Fresh reads of an installation's Jobs and pods, for questions that the mirror cannot answer."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TypeVar

from services.executor.backend import Waiting
from services.executor.kubernetes import names
from services.executor.kubernetes.objects import JobSeen, PodSeen, job_seen, pod_seen
from services.executor.planning import name_of
from shared.kubernetes.client import ApiError, KubernetesApi, Object
from shared.statuses import WaitingFor

_PAGE = 250
_ONE_BY_ONE = 20
"""Threshold: for more attempts than this, one list of all objects costs the API server less."""

T = TypeVar("T")


@dataclass(slots=True)
class Found:
    """The existing objects of one attempt."""

    job: JobSeen | None = None
    pods: list[PodSeen] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Place:
    """The namespace, the API paths and the names of an installation's objects."""

    namespace: str
    installation: str

    @property
    def jobs(self) -> str:
        return f"/apis/batch/v1/namespaces/{self.namespace}/jobs"

    @property
    def pods(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/pods"

    @property
    def secrets(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/secrets"

    @property
    def events(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/events"

    @property
    def selector(self) -> str:
        return names.selector(self.installation)

    def name(self, attempt_id: int) -> str:
        return name_of(self.installation, attempt_id)


async def read(api: KubernetesApi, place: Place, attempts: Collection[int]) -> dict[int, Found]:
    """Read the Jobs and pods of these attempts. Raises ApiError, ApiUnavailable."""
    found = {attempt: Found() for attempt in attempts}
    if len(attempts) > _ONE_BY_ONE:
        jobs, pods = await asyncio.gather(
            _all(api, place.jobs, place.selector, lambda one: job_seen(one, place.installation)),
            _all(api, place.pods, place.selector, lambda one: pod_seen(one, place.installation)),
        )
    else:
        each = await asyncio.gather(*(_one(api, place, attempt) for attempt in attempts))
        jobs = [job for job, _ in each if job is not None]
        pods = [pod for _, some in each for pod in some]
    for job in jobs:
        if job.attempt_id in found:
            found[job.attempt_id].job = job
    for pod in pods:
        if pod.attempt_id in found:
            found[pod.attempt_id].pods.append(pod)
    return found


async def job_named(api: KubernetesApi, place: Place, name: str) -> Object | None:
    """Return the Job with this name, or None. Raises ApiError, ApiUnavailable."""
    try:
        return await api.get(f"{place.jobs}/{name}")
    except ApiError as error:
        if error.status == 404:
            return None
        raise


async def complaints(api: KubernetesApi, place: Place) -> dict[str, str]:
    """Return the Job controller's latest reason why it cannot create a pod, by the uid of the Job.

    Raises ApiError, ApiUnavailable.
    """
    events = await _all(
        api, place.events, None, lambda one: one, fieldSelector="involvedObject.kind=Job,reason=FailedCreate"
    )
    events.sort(
        key=lambda event: (
            event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"]
        )
    )
    return {event["involvedObject"].get("uid", ""): event.get("message", "") for event in events}


def weigh_complaint(message: str) -> Waiting | str:
    """Return what to wait for, or, as text, why waiting is useless."""
    words = message.removeprefix("Error creating: ")
    if "exceeded quota" in words:
        return Waiting(WaitingFor.QUOTA, words)
    hopeless = ("is forbidden" in words or "is invalid" in words) and "service account" not in words
    return words if hopeless else Waiting(None, words)


async def _one(api: KubernetesApi, place: Place, attempt: int) -> tuple[JobSeen | None, list[PodSeen]]:
    selector = names.attempt_selector(place.installation, attempt)
    job, pods = await asyncio.gather(
        job_named(api, place, place.name(attempt)),
        _all(api, place.pods, selector, lambda one: pod_seen(one, place.installation)),
    )
    return (None if job is None else job_seen(job, place.installation)), pods


async def _all(
    api: KubernetesApi, path: str, selector: str | None, reduce: Callable[[Object], T | None], **query: object
) -> list[T]:
    return (await list_all(api, path, selector, reduce, **query))[0]


async def list_all(
    api: KubernetesApi, path: str, selector: str | None, reduce: Callable[[Object], T | None], **query: object
) -> tuple[list[T], str]:
    """Return all objects, reduced, and the version of the list.

    Raises ApiError (410: it took so long that the server dropped this version), ApiUnavailable.
    """
    found: list[T] = []
    onward: str | None = None
    while True:
        page = await api.get(path, labelSelector=selector, limit=_PAGE, **query, **{"continue": onward})
        found += [seen for one in page.get("items") or () if (seen := reduce(one)) is not None]
        onward = page["metadata"].get("continue") or None
        if onward is None:
            return found, page["metadata"]["resourceVersion"]
