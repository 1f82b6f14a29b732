"""Builds the specification of an attempt for the cluster from the stored rows.

Pure, except that the caller passes the function that decrypts the clone token.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from services.executor.backend import AttemptSpec, Clone
from services.executor.verdict import Verdict
from shared.crypto import DecryptionFailed
from shared.events import Event, Execution, environment
from shared.expressions import REDUCED, ExpressionError, Value, parse_template, render
from shared.pipeline.claiming import SecretVariables, claimed
from shared.pipeline.expansion import ConfigInvalid
from shared.pipeline.model import Checkout, Job
from shared.statuses import Reason, Status

OpenToken = Callable[[bytes, int], str]
"""Decrypts `repositories.clone_token` of the repository with this id. Raises DecryptionFailed."""


OpenSecret = Callable[[bytes, int], str]
"""Decrypts the version of a secret with this id. Raises DecryptionFailed."""

UNSET_SECRETS = (
    "The job has none of its secrets: its event comes from a person without write access to the repository."
)
"""The warning of an untrusted attempt whose job lists secrets."""


@dataclass(frozen=True, slots=True)
class StoredSecret:
    """The version of a secret that an attempt gets."""

    name: str
    version_id: int
    encrypted: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Before:
    """The previous attempt of the job, whose pod was claimed and whose objects may still exist."""

    attempt_id: int
    pod_uid: str
    claimed_seconds: float
    """Seconds since its claim."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An attempt to start, with everything that is stored about it."""

    attempt_id: int
    creation_token: str = field(repr=False)
    claimed_by: str | None
    """The uid of the pod that holds the claim; None before a claim."""
    execution: Execution
    job_id: int
    job: Job
    event: Event
    repository_id: int
    clone_url: str
    clone_token: bytes | None = field(repr=False)
    run_timeout_seconds: int
    run_seconds_left: float
    secrets: tuple[StoredSecret, ...] = ()
    traceparent: str | None = None
    before: Before | None = None


def _no_secrets(_: bytes, __: int) -> str:
    raise DecryptionFailed("there are no encryption keys")


def plan(
    candidate: Candidate, installation: str, open_token: OpenToken, open_secret: OpenSecret = _no_secrets
) -> AttemptSpec | Verdict:
    """Return the specification for the cluster, or a verdict if the attempt cannot start."""
    hindrance = _hindrance(candidate)
    if hindrance is not None:
        return hindrance
    try:
        clone = _clone(candidate, candidate.job.checkout, open_token)
    except DecryptionFailed as error:
        return _unusable("The repository's clone token", error)
    try:
        job, secrets = _complete(candidate, open_secret)
    except ConfigInvalid as error:
        return _invalid(str(error))
    except DecryptionFailed as error:
        return _unusable("A secret of the job", error)
    return AttemptSpec(
        name=name_of(installation, candidate.attempt_id),
        attempt_id=candidate.attempt_id,
        job_id=candidate.job_id,
        run_id=candidate.execution.run_id,
        creation_token=candidate.creation_token,
        job=job,
        environment={**environment(candidate.event, candidate.execution), **candidate.job.env},
        clone=clone,
        trusted=candidate.event.trusted,
        run_seconds_left=candidate.run_seconds_left,
        secrets=secrets,
    )


def _hindrance(candidate: Candidate) -> Verdict | None:
    """Return the verdict of an attempt that cannot start because of what is stored about it."""
    if candidate.run_seconds_left <= 0:
        return Verdict(
            outcome=Status.FAILED,
            reason=Reason.TIMED_OUT,
            message="The run's time was over before this job could start.",
        )
    if candidate.job.checkout is not None and candidate.event.sha is None:
        return _invalid("There is no commit to check out: the event names none.")
    return _missing_secrets(candidate)


def _complete(candidate: Candidate, open_secret: OpenSecret) -> tuple[Job, SecretVariables]:
    """Return the job without expressions that are evaluated before it starts, and its secrets.

    Raises ConfigInvalid, DecryptionFailed.
    """
    try:
        job = _with_scripts(candidate.job, candidate.execution)
    except ExpressionError as error:
        raise ConfigInvalid(f"A script can't be completed: {error.message}.") from error
    return claimed(job, {one.name: open_secret(one.encrypted, one.version_id) for one in candidate.secrets})


def _missing_secrets(candidate: Candidate) -> Verdict | None:
    """Return the verdict of a job that lists secrets that are not set. Untrusted jobs get none."""
    known = {one.name for one in candidate.secrets}
    missing = [name for name in candidate.job.secrets if name not in known]
    if not missing or not candidate.event.trusted:
        return None
    repository = candidate.event.repository
    these = "secret" if len(missing) == 1 else "secrets"
    return _invalid(
        f"The job lists the {these} {', '.join(missing)}, not set for {repository}. A maintainer can run "
        f"`towpath secrets set {missing[0]} --repository {repository}`."
    )


def _unusable(what: str, error: DecryptionFailed) -> Verdict:
    return Verdict(outcome=Status.ERROR, reason=Reason.PLATFORM, message=f"{what} can't be used: {error}.")


def _with_scripts(job: Job, execution: Execution) -> Job:
    """Return the job with scripts that have no expressions.

    The scheduler has filled in all but `run` and `job`. Raises ExpressionError.
    """
    contexts: dict[str, Value] = {
        "run": {"id": execution.run_id, "number": execution.run_number},
        "job": {"key": job.key, "name": job.name, "attempt": execution.attempt},
    }
    scripts = {path: text for path, text in job.templates.items() if path.split(".")[2:] == ["run"]}
    steps = list(job.steps)
    for path, text in scripts.items():
        index = int(path.split(".")[1])
        script = render(parse_template(text, REDUCED), contexts)
        steps[index] = steps[index].model_copy(update={"run": script})
    left = {path: text for path, text in job.templates.items() if path not in scripts}
    return job.model_copy(update={"steps": tuple(steps), "templates": left}) if scripts else job


def name_of(installation: str, attempt_id: int) -> str:
    """Return the name of every object that is created for an attempt."""
    return f"tp-{installation}-{attempt_id}"


def refused(message: str) -> Verdict:
    """Return the verdict of a job that the cluster will never run."""
    return _invalid(message)


def name_taken(name: str) -> Verdict:
    return Verdict(
        outcome=Status.ERROR,
        reason=Reason.PLATFORM,
        message=f"The cluster has an object {name} that this attempt did not make.",
    )


def _clone(candidate: Candidate, checkout: Checkout | None, open_token: OpenToken) -> Clone | None:
    """Raises DecryptionFailed."""
    event = candidate.event
    if checkout is None or event.sha is None:
        return None
    ref = f"refs/pull/{event.pull_request}/head" if event.pull_request is not None else event.ref
    sealed = candidate.clone_token
    return Clone(
        url=candidate.clone_url,
        sha=event.sha,
        ref=ref,
        merge_sha=event.merge_sha,
        depth=checkout.depth,
        tags=checkout.tags,
        submodules=checkout.submodules,
        shares_token=event.trusted,
        lfs=checkout.lfs,
        folder=checkout.path or "",
        token=None if sealed is None else open_token(sealed, candidate.repository_id),
    )


def _invalid(message: str) -> Verdict:
    return Verdict(outcome=Status.ERROR, reason=Reason.CONFIG_INVALID, message=message)
