"""Interprets the startup of a released pod: what it waits for before user code starts. Pure.

The containers start one after another. The next one to start shows what the pod waits for, and whether
waiting is useless.
"""

from services.executor.backend import Cause, Waiting
from services.executor.kubernetes.names import SERVICE_PREFIX
from services.executor.kubernetes.objects import Container, PodSeen, Terminated
from shared.statuses import Reason, WaitingFor

REGISTRY_SECONDS = 60.0
"""Time for which a registry may fail before this counts. By then, the kubelet has tried three times."""

_IMAGE_TROUBLE = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "RegistryUnavailable",
        "ImageInspectError",
        "SignatureValidationFailed",
    }
)
_NO_ENTRY = ("unauthorized", "denied", "forbidden", "authorization", "authentication", "no basic auth")
_NO_IMAGE = (
    "not found",
    "does not exist",
    "manifest unknown",
    "name unknown",
    "notfound",
    "no match for platform",
)


def has_begun(seen: PodSeen) -> bool:
    return seen.job.running_since is not None or seen.job.terminated is not None


def coming_up(seen: PodSeen) -> Container:
    """Return the next container to start: the init containers in their order, then the job's."""
    for container in seen.init:
        done = (
            container.started
            if container.sidecar
            else container.terminated is not None and container.terminated.exit_code == 0
        )
        if not done:
            return container
    return seen.job


def has_image_trouble(container: Container) -> bool:
    return container.waiting in _IMAGE_TROUBLE


def waits_for(seen: PodSeen, current: Container) -> WaitingFor | None:
    if not seen.node:
        return WaitingFor.NODE
    pulling = seen.sandbox_ready and current.waiting in ("ContainerCreating", "PodInitializing")
    return WaitingFor.IMAGE if pulling or has_image_trouble(current) else None


def waiting_of(seen: PodSeen, current: Container, seconds: float) -> Waiting | None:
    """Return what the pod waits for, or None while the clone runs, which has its own time limit."""
    if current.running_since is not None and not current.sidecar:
        return None
    what = waits_for(seen, current)
    if what is WaitingFor.NODE:
        words = seen.unschedulable or "No node was chosen for the pod."
    elif what is WaitingFor.IMAGE:
        words = current.message or f"The image {current.image} is being pulled."
    elif current.running_since is not None and current.name.startswith(SERVICE_PREFIX):
        words = f'The service "{_service(current)}" is not ready.'
    else:
        words = current.message or current.waiting or "The pod is being set up on its node."
    return Waiting(what, words, seconds)


def _service(container: Container) -> str:
    return container.name.removeprefix(SERVICE_PREFIX)


def obstacle_of(seen: PodSeen, current: Container, seconds: float) -> Cause | None:
    if has_image_trouble(current):
        return _image_trouble(current.message, seconds)
    match current.waiting:
        case "ErrImageNeverPull":
            return Cause(Reason.IMAGE_MISSING, current.message)
        case "InvalidImageName":
            return Cause(Reason.CONFIG_INVALID, current.message)
        case _:
            return service_trouble(seen)


def _image_trouble(message: str, seconds: float) -> Cause | None:
    words = message.lower()
    if any(word in words for word in _NO_ENTRY):
        return Cause(Reason.IMAGE_AUTH, message)
    if any(word in words for word in _NO_IMAGE):
        return Cause(Reason.IMAGE_MISSING, message)
    return Cause(Reason.IMAGE_REGISTRY, message) if seconds >= REGISTRY_SECONDS else None


def service_trouble(seen: PodSeen) -> Cause | None:
    """Return the cause if a service ended, or never became ready, before the job started."""
    for service in seen.init:
        ended = service.terminated or service.ended_before
        if service.name.startswith(SERVICE_PREFIX) and ended is not None and not service.started:
            return service_failure(service, ended, "before it was ready")
    return None


def service_failure(service: Container, ended: Terminated, when: str) -> Cause:
    name = _service(service)
    if ended.reason == "OOMKilled":
        return Cause(Reason.OOM_KILLED, f'The service "{name}" used more memory than it was given.')
    return Cause(
        Reason.SERVICE_FAILED, f'The service "{name}" ended with exit code {ended.exit_code} {when}.'
    )
