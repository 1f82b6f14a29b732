"""Names, labels and annotations of an attempt's objects, and functions that read them back. Pure.

An object belongs to an attempt only if its labels name this installation and the attempt, and its name (for a
pod, the name of its Job) is the one that follows from them. So an object that another installation or a
person created in the same namespace is never mistaken for ours. A value that a label cannot hold is replaced
by a digest.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Literal

from services.executor.planning import name_of

MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
MANAGED_BY = "towpath"
INSTALLATION_LABEL = "towpath.dev/installation"
RUN_LABEL = "towpath.dev/run"
JOB_LABEL = "towpath.dev/job"
ATTEMPT_LABEL = "towpath.dev/attempt"
CREATION_TOKEN = "towpath.dev/creation-token"  # noqa: S105 - the annotation's key
"""Annotation of the Job: the attempt's creation token. A Job with another token is not adopted."""
GATE = "towpath.dev/claim"
"""The scheduling gate at which a pod waits for its claim."""

JOB_CONTAINER = "job"
CLONE_CONTAINER = "clone"
OUTPUTS_CONTAINER = "outputs"
SERVICE_PREFIX = "service-"

Object = Mapping[str, Any]
"""A Kubernetes object as the API server returns it."""

_LABEL_VALUE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?\Z")
_NUMBER = re.compile(r"[1-9][0-9]{0,18}\Z")


def labels(installation: str, run_id: int, job_id: int, attempt_id: int) -> dict[str, str]:
    """Return the labels of every object of an attempt."""
    return {
        MANAGED_BY_LABEL: MANAGED_BY,
        INSTALLATION_LABEL: label_value(installation),
        RUN_LABEL: str(run_id),
        JOB_LABEL: str(job_id),
        ATTEMPT_LABEL: str(attempt_id),
    }


def selector(installation: str) -> str:
    """Return the parameter `labelSelector` for all objects of this installation."""
    return f"{MANAGED_BY_LABEL}={MANAGED_BY},{INSTALLATION_LABEL}={label_value(installation)}"


def attempt_selector(installation: str, attempt_id: int) -> str:
    """Return the parameter `labelSelector` for the objects of one attempt."""
    return f"{selector(installation)},{ATTEMPT_LABEL}={attempt_id}"


def label_value(text: str) -> str:
    """Return the text if a label can hold it, else a digest of it."""
    return (
        text
        if _LABEL_VALUE.match(text)
        else "sha256-" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:40]
    )


def attempt_of_job(job: Object, installation: str) -> int | None:
    """Return the attempt of this Job or Secret, or None if it is not of this installation."""
    attempt = _attempt(job, installation)
    return (
        attempt
        if attempt is not None and _text(_metadata(job), "name") == name_of(installation, attempt)
        else None
    )


def attempt_of_pod(pod: Object, installation: str) -> int | None:
    """Return the attempt of this pod through its Job, or None if it is not of this installation."""
    attempt = _attempt(pod, installation)
    return attempt if attempt is not None and job_of_pod(pod)[0] == name_of(installation, attempt) else None


def job_of_pod(pod: Object) -> tuple[str, str]:
    """Return name and uid of the Job that controls this pod. Both are empty if none does."""
    for owner in _metadata(pod).get("ownerReferences") or ():
        if owner.get("controller") and owner.get("kind") == "Job":
            return _text(owner, "name"), _text(owner, "uid")
    return "", ""


def creation_token_of(job: Object) -> str:
    """Return the creation token of this Job; empty if it has none."""
    return _text(_metadata(job).get("annotations") or {}, CREATION_TOKEN)


def is_gated(pod: Object) -> bool:
    """Return whether the pod waits for its claim."""
    return any(gate.get("name") == GATE for gate in pod.get("spec", {}).get("schedulingGates") or ())


def service_container(service: str) -> str:
    """Return the name of this service's container."""
    return f"{SERVICE_PREFIX}{service}"


def log_location(source: Literal["api", "agent"], namespace: str, pod: str, pod_uid: str) -> str:
    """Return where a pod's log is read: through the API server, or by the agent of its node."""
    return f"{'kubernetes' if source == 'api' else 'node'}:///{namespace}/{pod}/{pod_uid}"


def _attempt(found: Object, installation: str) -> int | None:
    marks = _metadata(found).get("labels") or {}
    ours = marks.get(MANAGED_BY_LABEL) == MANAGED_BY and marks.get(INSTALLATION_LABEL) == label_value(
        installation
    )
    number = _text(marks, ATTEMPT_LABEL)
    return int(number) if ours and _NUMBER.match(number) else None


def _metadata(found: Object) -> Mapping[str, Any]:
    metadata: Mapping[str, Any] = found.get("metadata") or {}
    return metadata


def _text(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key)
    return value if isinstance(value, str) else ""
