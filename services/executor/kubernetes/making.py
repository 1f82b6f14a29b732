"""Making an attempt's Job and Secret, in this order, and what each of the API server's answers means.

Nobody's answer is needed twice: a name that is taken is looked at and adopted, or it is not ours. An answer
that was lost is found out the same way later.
"""

from dataclasses import dataclass
from typing import NoReturn

from services.executor.cluster import AttemptSpec, MustWait, NameTaken, Refused, Waiting
from services.executor.kubernetes.manifest import Manifest, PodSettings, objects_of, owned_by
from services.executor.kubernetes.names import creation_token_of
from services.executor.kubernetes.objects import JobSeen, job_seen
from services.executor.kubernetes.reading import Place, job_named
from shared.crashpoint import crashpoint
from shared.errors import Transient
from shared.kubernetes import ApiError, KubernetesApi, Object
from shared.statuses import WaitingFor

BACKGROUND = "Background"
"""A Job deleted without a propagation policy leaves its pods behind."""


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes the objects of attempts in one place. Safe for concurrent use."""

    api: KubernetesApi
    place: Place
    settings: PodSettings

    async def make(self, spec: AttemptSpec) -> JobSeen:
        """The attempt's Job, made or adopted, with its Secret.

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
        """The Job that has the name; None: it is out of the way now, for it made a pod that ended before
        anybody had a claim on it.
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
            )  # of a Job that is no more
        except ApiError as error:
            if error.status not in (404, 409):
                _say(error)
        if await self._post(self.place.secrets, manifest) is None:
            raise Transient(f"Kubernetes: the Secret {job.name} is being replaced")

    async def delete_job(self, name: str, uid: str) -> bool:
        """With its pods and its Secret. False: there is none with this uid. Raises Transient."""
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
        """None: the name is taken."""
        try:
            return await self.api.post(path, manifest)
        except ApiError as error:
            if error.status == 409 and error.reason == "AlreadyExists":
                return None
            _say(error)


def _say(error: ApiError) -> NoReturn:
    """What an answer to a creation means. Raises Refused, MustWait, Transient."""
    if error.status == 403 and "exceeded quota" in error.message:
        raise MustWait(Waiting(WaitingFor.QUOTA, error.message)) from error
    if error.status in (400, 413, 422):
        raise Refused(error.message) from error
    refuse_for_now(error)


def refuse_for_now(error: ApiError) -> NoReturn:
    """Rights or a namespace are missing, which an operator can mend. Raises Transient."""
    raise Transient(f"Kubernetes API: {error}") from error
