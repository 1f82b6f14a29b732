"""Builds an attempt's Job and Secret from its specification and the administrator's settings. Pure.

Users' text goes only into these places: images, the services' names and variables, allowed node selectors,
and the Secret's data. Values of secrets are keys of that Secret, to which the containers refer one by one.
Every container is set up for the Pod Security level `restricted`; a job that may run
as root needs `baseline`. The credentials of the clone are in a key of the Secret that is mounted only in
`clone`. The Job creates one pod, which waits at its gate, and the Job is never retried.
"""

import base64
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from services.executor import step_driver, step_outputs
from services.executor.backend import AttemptSpec, Refused
from services.executor.checkout import Commit
from services.executor.clone_order import Order
from services.executor.driver_secrets import DriverSecrets
from services.executor.kubernetes import names
from shared import step_markers
from shared.pipeline.model import Job, Resources, Service

SECRET_LIMIT_BYTES = 900 << 10
"""Maximum size of the Secret's data. An API server and its etcd accept somewhat more."""
UID = 1000

_FOLDER = "/towpath"
_WORKSPACE, _STATE, _STARTED, _HOME = (
    f"{_FOLDER}/{name}" for name in ("workspace", "state", "started", "home")
)
_TERMINATION = "/dev/termination-log"
_DRIVER_KEY, _CLONE_KEY = "driver", "clone"
_DRIVER_FOLDER, _CLONE_FOLDER = "/towpath-driver", "/towpath-clone"
# SIGTERM to all processes. `kill -1` does not include process 1, which is the driver.
_STOP = "kill -TERM 1; kill -TERM -1"
_CLONE_MEMORY_BYTES = 256 << 20  # the minimum, for Python, git, and git's index of the fetched objects
_ASKED = "/tmp/asked"  # noqa: S108 - in a container of its own
_OUTPUTS_RESOURCES = {"cpu": "100m", "memory": str(64 << 20), "ephemeral-storage": str(32 << 20)}
_NODE_TROUBLES = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSettings:
    """The administrator's settings for every pod; see `services.executor.settings`."""

    installation: str
    namespace: str
    towpath_image: str
    """The image of the containers `clone` and `outputs`."""
    default_image: str
    """The image of jobs without `image`."""
    cpu_millis: int
    memory_bytes: int
    """Memory of a job without its own value, and of each of its services."""
    ephemeral_storage_bytes: int
    """Limit for the job's container and for each service: written image layers, logs, and the workspace."""
    node_lost_seconds: int
    """Time for which a node may not answer before its pods are given up."""
    image_pull_seconds: float
    start_seconds: float
    grace_seconds: float
    clone_seconds: float
    clone_protocols: str
    """The protocols that git may use, in the format of GIT_ALLOW_PROTOCOL."""
    allow_root: Literal["never", "trusted"]
    node_selector_keys: frozenset[str]
    """The node labels that jobs may select."""

    @property
    def whole_grace_seconds(self) -> int:
        return max(1, math.ceil(self.grace_seconds))

    def stop_grace_seconds(self, job: Job) -> int:
        """Return the time between SIGTERM and SIGKILL for this job."""
        return job.stop_grace_seconds or self.whole_grace_seconds


@dataclass(frozen=True, slots=True)
class Objects:
    """The manifests of an attempt.

    The Secret has no owner until the Job exists: see `owned_by`.
    """

    job: Manifest
    secret: Manifest


def objects_of(spec: AttemptSpec, settings: PodSettings) -> Objects:
    """Build the manifests. The same specification always gives the same manifests.

    Raises Refused if the job asks for something that the settings do not allow, or if its text is too long.
    """
    _check_wishes(spec, settings)
    labels = names.labels(settings.installation, spec.run_id, spec.job_id, spec.attempt_id)
    return Objects(_job(spec, settings, labels), _secret(spec, settings, labels))


def owned_by(secret: Manifest, job_name: str, job_uid: str) -> Manifest:
    """Return the Secret with this Job as owner, so that it is deleted with the Job."""
    owner = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": job_name,
        "uid": job_uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    return {**secret, "metadata": {**secret["metadata"], "ownerReferences": [owner]}}


def _check_wishes(spec: AttemptSpec, settings: PodSettings) -> None:
    if spec.job.user == "root" and not (settings.allow_root == "trusted" and spec.trusted):
        whom = (
            "nobody"
            if settings.allow_root == "never"
            else "only events of people who may write to the repository"
        )
        raise Refused(
            f"`user: root` is not allowed here: this cluster's administrator lets {whom} run jobs as root."
        )
    for key in spec.job.node_selector:
        if key not in settings.node_selector_keys:
            allowed = ", ".join(sorted(settings.node_selector_keys)) or "none"
            raise Refused(
                f"`kubernetes.node_selector` may not name {key!r} here; this cluster's administrator "
                f"allows: {allowed}."
            )


# ---------------------------------------------------------------- the Job


def _job(spec: AttemptSpec, settings: PodSettings, labels: dict[str, str]) -> Manifest:
    metadata = {
        "name": spec.name,
        "namespace": settings.namespace,
        "labels": labels,
        "annotations": {names.CREATION_TOKEN: spec.creation_token},
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "podReplacementPolicy": "Failed",
            "template": {"metadata": {"labels": labels}, "spec": _pod(spec, settings)},
        },
    }


def _pod(spec: AttemptSpec, settings: PodSettings) -> Manifest:
    services = spec.job.services
    init = [] if spec.clone is None else [_clone_container(spec, settings)]
    pod: Manifest = {
        "schedulingGates": [{"name": names.GATE}],
        "restartPolicy": "Never",
        "activeDeadlineSeconds": _deadline(spec, settings),
        "terminationGracePeriodSeconds": settings.stop_grace_seconds(spec.job),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": _pod_security(spec),
        "tolerations": [
            {
                "key": key,
                "operator": "Exists",
                "effect": "NoExecute",
                "tolerationSeconds": settings.node_lost_seconds,
            }
            for key in _NODE_TROUBLES
        ],
        "initContainers": [
            *init,
            *(_service_container(name, service, spec, settings) for name, service in services.items()),
            *([_outputs_container(spec, settings)] if spec.job.outputs else []),
        ],
        "containers": [_job_container(spec, settings)],
        "volumes": _volumes(spec),
    }
    if services:
        pod["hostAliases"] = [{"ip": "127.0.0.1", "hostnames": list(services)}]
    if spec.job.node_selector:
        pod["nodeSelector"] = dict(spec.job.node_selector)
    return pod


def _deadline(spec: AttemptSpec, settings: PodSettings) -> int:
    """Return the pod's own deadline, a last resort: all other time limits take effect earlier."""
    return math.ceil(
        settings.image_pull_seconds
        + settings.start_seconds
        + spec.job.timeout_seconds
        + 2 * settings.stop_grace_seconds(spec.job)
    )


def _job_container(spec: AttemptSpec, settings: PodSettings) -> Manifest:
    secrets = _secret_env(spec, names.JOB_CONTAINER)
    return {
        **_container(names.JOB_CONTAINER, spec.job.image or settings.default_image),
        "command": ["/bin/sh", f"{_DRIVER_FOLDER}/{_DRIVER_KEY}"],
        **({"env": secrets} if secrets else {}),
        "workingDir": _FOLDER,  # this user may have no access to the image's own
        "lifecycle": {"preStop": {"exec": {"command": ["/bin/sh", "-c", _STOP]}}},
        "resources": _resources(spec.job.resources, settings),
        "securityContext": _root_security() if spec.job.user == "root" else _security(),
        "terminationMessagePath": _TERMINATION,
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            {"name": "towpath", "mountPath": _FOLDER},
            {"name": "driver", "mountPath": _DRIVER_FOLDER, "readOnly": True},
        ],
    }


def _clone_container(spec: AttemptSpec, settings: PodSettings) -> Manifest:
    """Build the container `clone`. It has the job's user: git refuses to work in another user's folder."""
    wanted = spec.job.resources
    memory = max(wanted.memory_bytes or settings.memory_bytes, _CLONE_MEMORY_BYTES)
    return {
        **_container(names.CLONE_CONTAINER, settings.towpath_image),
        "command": ["python", "-m", "services.executor.clone", f"{_CLONE_FOLDER}/{_CLONE_KEY}"],
        "resources": _resources(Resources(cpu_millis=wanted.cpu_millis, memory_bytes=memory), settings),
        "securityContext": {**_security(root=spec.job.user == "root"), "readOnlyRootFilesystem": True},
        "terminationMessagePath": _TERMINATION,
        "terminationMessagePolicy": "File",
        "volumeMounts": [
            {"name": "towpath", "mountPath": _FOLDER},
            {"name": "clone", "mountPath": _CLONE_FOLDER, "readOnly": True},
        ],
    }


def _service_container(name: str, service: Service, spec: AttemptSpec, settings: PodSettings) -> Manifest:
    """Build a native sidecar, which starts before the job and gets SIGTERM when the job has ended."""
    container = {
        **_container(names.service_container(name), service.image),
        "restartPolicy": "Always",
        "env": [
            *({"name": key, "value": _literal(value)} for key, value in service.env.items()),
            *_secret_env(spec, names.service_container(name)),
        ],
        "resources": _resources(Resources(), settings),
        "securityContext": _security(),
    }
    if service.ready is not None:
        probe = {"tcpSocket": {"port": service.ready.tcp}, "periodSeconds": 1, "timeoutSeconds": 1}
        container["startupProbe"] = {**probe, "failureThreshold": max(1, service.ready.within_seconds)}
    return container


def _outputs_container(spec: AttemptSpec, settings: PodSettings) -> Manifest:
    """Build the native sidecar that prints the outputs of the job's steps when the job has ended.

    It is the last one, because sidecars are ended in reverse order, one after another.
    """
    stop = {"exec": {"command": ["/bin/sh", "-c", f": > {_ASKED}"]}}
    return {
        **_container(names.OUTPUTS_CONTAINER, settings.towpath_image),
        "restartPolicy": "Always",
        "command": [
            "python",
            "-m",
            "services.executor.outputs_container",
            f"{_STATE}/{step_outputs.FILE}",
            _ASKED,
        ],
        "lifecycle": {"preStop": stop},
        "resources": {"requests": _OUTPUTS_RESOURCES, "limits": dict(_OUTPUTS_RESOURCES)},
        "securityContext": _security(root=spec.job.user == "root"),
        "volumeMounts": [{"name": "towpath", "mountPath": _FOLDER, "readOnly": True}],
    }


def _container(name: str, image: str) -> Manifest:
    return {"name": name, "image": image, "imagePullPolicy": "IfNotPresent"}


def _literal(value: str) -> str:
    """Escape a variable: a kubelet replaces $(NAME) by a value, and $$ by a dollar sign."""
    return value.replace("$", "$$")


def _resources(wanted: Resources, settings: PodSettings) -> Manifest:
    amounts = {
        "cpu": f"{wanted.cpu_millis or settings.cpu_millis}m",
        "memory": str(wanted.memory_bytes or settings.memory_bytes),
        "ephemeral-storage": str(settings.ephemeral_storage_bytes),
    }
    return {"requests": amounts, "limits": dict(amounts)}


def _pod_security(spec: AttemptSpec) -> Manifest:
    """Build the pod's security context. Its volumes belong to the group, so all its users may write there."""
    common = {"fsGroup": UID, "seccompProfile": {"type": "RuntimeDefault"}}
    return (
        common
        if spec.job.user == "root"
        else {**common, "runAsNonRoot": True, "runAsUser": UID, "runAsGroup": UID}
    )


def _security(*, root: bool = False) -> Manifest:
    uid = 0 if root else UID
    return {
        "runAsNonRoot": not root,
        "runAsUser": uid,
        "runAsGroup": uid,
        "allowPrivilegeEscalation": False,
        "privileged": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _root_security() -> Manifest:
    """Build a security context for root, with the runtime's usual capabilities.

    Root that can't change owners can't install packages.
    """
    return {name: value for name, value in _security(root=True).items() if name != "capabilities"}


def _volumes(spec: AttemptSpec) -> list[Manifest]:
    keys = [_DRIVER_KEY] if spec.clone is None else [_DRIVER_KEY, _CLONE_KEY]
    secrets = [
        {
            "name": key,
            "secret": {"secretName": spec.name, "defaultMode": 0o440, "items": [{"key": key, "path": key}]},
        }  # the group may read it
        for key in keys
    ]
    return [{"name": "towpath", "emptyDir": {}}, *secrets]


# ---------------------------------------------------------------- the Secret


def _secret(spec: AttemptSpec, settings: PodSettings, labels: dict[str, str]) -> Manifest:
    data = _data(spec, settings)
    size = sum(map(len, data.values()))
    if size > SECRET_LIMIT_BYTES:
        raise Refused(
            f"The job's scripts and variables take {-(-size >> 10)} KiB together; a cluster takes "
            f"{SECRET_LIMIT_BYTES >> 10} KiB at most."
        )
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": spec.name, "namespace": settings.namespace, "labels": labels},
        "type": "Opaque",
        "immutable": True,
        "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
    }


def _data(spec: AttemptSpec, settings: PodSettings) -> Mapping[str, bytes]:
    try:
        data = {_DRIVER_KEY: _driver(spec, settings).encode()}
    except ValueError as error:
        raise Refused(
            f"The job's scripts and variables hold text that no process can take: {error}."
        ) from error
    if spec.clone is not None:
        data[_CLONE_KEY] = _clone_order(spec, settings)
    for number, (_, value) in enumerate(_secret_values(spec), 1):
        data[f"secret-{number}"] = value.encode()
    return data


def _secret_values(spec: AttemptSpec) -> list[tuple[tuple[str, str], str]]:
    """Return all values that have secrets, those of the steps first.

    Each has the container that gets it, and the name of its variable.
    """
    of_job = [
        ((names.JOB_CONTAINER, name), value)
        for name, value in DriverSecrets(spec.secrets, in_environment=True).passed()
    ]
    return of_job + [
        ((names.service_container(service), name), value)
        for service, variables in spec.secrets.services.items()
        for name, value in variables.items()
    ]


def _secret_env(spec: AttemptSpec, container: str) -> list[Manifest]:
    """Return the references to the values that this container gets."""
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": spec.name, "key": f"secret-{number}"}}}
        for number, ((owner, name), _) in enumerate(_secret_values(spec), 1)
        if owner == container
    ]


def _driver(spec: AttemptSpec, settings: PodSettings) -> str:
    paths = step_driver.DriverPaths(_WORKSPACE, _STATE)
    alone = step_driver.Unsupervised(
        _STARTED, _HOME, _TERMINATION, spec.job.timeout_seconds, settings.stop_grace_seconds(spec.job)
    )
    environment = {**spec.environment, "HOME": _HOME}
    nonce = step_markers.nonce(spec.creation_token)
    secrets = DriverSecrets(spec.secrets, in_environment=True)
    return step_driver.render(spec.job, paths, nonce, environment, alone, secrets=secrets)


def _clone_order(spec: AttemptSpec, settings: PodSettings) -> bytes:
    assert spec.clone is not None  # noqa: S101 - asked by the caller
    wanted = spec.clone
    commit = Commit(
        url=wanted.url,
        sha=wanted.sha,
        ref=wanted.ref,
        merge_sha=wanted.merge_sha,
        depth=wanted.depth,
        token=wanted.token,
        protocols=settings.clone_protocols,
        tags=wanted.tags,
        submodules=wanted.submodules,
        shares_token=wanted.shares_token,
        lfs=wanted.lfs,
        folder=wanted.folder,
    )
    return Order(commit, _WORKSPACE, _STARTED, _TERMINATION, settings.clone_seconds).encode()
