"""Creates an attempt's Job and then its Secret, and interprets the answers of the API server.

Every call is safe to repeat. If a name is taken, the existing object is read, and either adopted or rejected
because it is not the attempt's. The same way, a later call finds out what a request whose answer was lost
has done.
"""

from dataclasses import dataclass
from typing import NoReturn

from services.executor.backend import AttemptSpec, MustWait, NameTaken, Refused, Waiting
from services.executor.kubernetes.listing import Place, job_named
from services.executor.kubernetes.manifest import Manifest, PodSettings, objects_of, owned_by
from services.executor.kubernetes.names import creation_token_of
from services.executor.kubernetes.objects import JobSeen, job_seen
from shared.crashpoint import crashpoint
from shared.errors import Transient
from shared.kubernetes.client import ApiError, KubernetesApi, Object
from shared.statuses import WaitingFor

BACKGROUND = "Background"
"""Propagation policy of deletions. A Job that is deleted without one leaves its pods behind."""


@dataclass(frozen=True, slots=True)
class Maker:
    """Creates the objects of attempts in one namespace. Safe for concurrent use."""

    api: KubernetesApi
    place: Place
    settings: PodSettings

    async def make(self, spec: AttemptSpec) -> JobSeen:
        """Create or adopt the attempt's Job and its Secret, and return the Job.

        Raises NameTaken, Refused, MustWait, Transient.
        """
        objects = objects_of(spec, self.settings)
        crashpoint("kubernetes.job_not_posted")
        job = await self._job(spec, objects.job)
        crashpoint("kubernetes.job_posted_without_secret")
        await self._secret(owned_by(objects.secret, job.name, job.uid), job)
        crashpoint("kubernetes.secret_posted_not_claimed")
        return job

    async def _job(self, spec: AttemptSpec, manifest: Manifest) -> JobSeen:
        made = await self._post(self.place.jobs, manifest)
        if made is None:
            made = await self._adopted(spec)
        if made is None:
            made = await self._post(self.place.jobs, manifest)
        if made is None:
            raise Transient(f"Kubernetes: the Job {spec.name} is being replaced")
        return self._ours(made, spec)

    async def _adopted(self, spec: AttemptSpec) -> Object | None:
        """Return the existing Job with the attempt's name, or None if the name is free.

        A Job whose pod ended before any claim is deleted first, so that it can be created again.
        """
        try:
            found = await job_named(self.api, self.place, spec.name)
        except ApiError as error:
            refuse_for_now(error)
        if found is None:
            return None
        job = self._ours(found, spec)
        if "deletionTimestamp" in found["metadata"]:
            raise Transient(f"Kubernetes: the Job {spec.name} is being deleted")
        if not job.is_over:
            return found
        await self.delete_job(job.name, job.uid)
        return None

    def _ours(self, found: Object, spec: AttemptSpec) -> JobSeen:
        job = job_seen(found, self.place.installation)
        if job is None or creation_token_of(found) != spec.creation_token:
            raise NameTaken(spec.name)
        return job

    async def _secret(self, manifest: Manifest, job: JobSeen) -> None:
        if await self._post(self.place.secrets, manifest) is not None:
            return
        try:
            found = await self.api.get(f"{self.place.secrets}/{job.name}")
            if any(owner.get("uid") == job.uid for owner in found["metadata"].get("ownerReferences") or ()):
                return
            await self.api.delete(
                f"{self.place.secrets}/{job.name}", {"preconditions": {"uid": found["metadata"]["uid"]}}
            )  # it belonged to a Job that no longer exists
        except ApiError as error:
            if error.status not in (404, 409):
                _say(error)
        if await self._post(self.place.secrets, manifest) is None:
            raise Transient(f"Kubernetes: the Secret {job.name} is being replaced")

    async def delete_job(self, name: str, uid: str) -> bool:
        """Delete the Job with its pods and its Secret. False: none has this uid. Raises Transient."""
        options = {"propagationPolicy": BACKGROUND, "preconditions": {"uid": uid}}
        crashpoint("kubernetes.job_not_deleted")
        try:
            await self.api.delete(f"{self.place.jobs}/{name}", options)
            crashpoint("kubernetes.job_deleted_not_marked")
        except ApiError as error:
            if error.status not in (404, 409):
                refuse_for_now(error)
            return False
        return True

    async def _post(self, path: str, manifest: Manifest) -> Object | None:
        """Create an object. None: its name is taken. Raises Refused, MustWait, Transient."""
        try:
            return await self.api.post(path, manifest)
        except ApiError as error:
            if error.status == 409 and error.reason == "AlreadyExists":
                return None
            _say(error)


def _say(error: ApiError) -> NoReturn:
    """Raise the error that this answer to a creation means: Refused, MustWait or Transient."""
    if error.status == 403 and "exceeded quota" in error.message:
        raise MustWait(Waiting(WaitingFor.QUOTA, error.message)) from error
    if error.status in (400, 413, 422):
        raise Refused(error.message) from error
    refuse_for_now(error)


def refuse_for_now(error: ApiError) -> NoReturn:
    """Raise Transient: an operator can fix the cause, such as missing rights or a missing namespace."""
    raise Transient(f"Kubernetes API: {error}") from error
