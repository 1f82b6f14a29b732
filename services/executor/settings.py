"""The executor's settings."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator
from pydantic_settings import NoDecode

from shared.pipeline.values import cpu_millis, memory_bytes
from shared.settings import ServiceSettings, Settings

Folders = Annotated[tuple[Path, ...], NoDecode]
"""Absolute paths separated by colons."""
Names = Annotated[tuple[str, ...], NoDecode]
Cpu = Annotated[
    PositiveInt, BeforeValidator(lambda value: cpu_millis(value) if isinstance(value, str) else value)
]
"""In thousandths of a core."""
Bytes = Annotated[
    PositiveInt, BeforeValidator(lambda value: memory_bytes(value) if isinstance(value, str) else value)
]


class KubernetesSettings(Settings):
    """What a Kubernetes cluster needs; of no use to the local one."""

    kubeconfig: Path | None = None
    """Its current context is used. Empty: the cluster that this process runs in, by its service account."""
    kubernetes_namespace: str = Field(
        default="towpath-builds", pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
    )
    """Where attempts run; nothing else should."""
    kubernetes_towpath_image: str = "towpath:latest"
    """Our own image, of the container `clone`."""
    kubernetes_default_image: str = "debian:bookworm-slim"
    """Of jobs without `image`."""
    kubernetes_cpu: Cpu = 500
    """Requested, and granted at most, where a job asks for nothing else: cores or thousandths, such as 2 or
    500m.
    """
    kubernetes_memory: Bytes = 512 << 20
    """Of a job that asks for nothing else, and of each service: bytes, or with a unit, such as 1Gi."""
    kubernetes_ephemeral_storage: Bytes = 4 << 30
    """Workspace and logs of a job; one that writes more is evicted."""
    kubernetes_unscheduled_seconds: PositiveFloat = 300
    """A node that fits may have to be started: cluster autoscalers take 2 to 4 minutes."""
    kubernetes_image_pull_seconds: PositiveFloat = 600
    """Large images on slow registries; the registry's own errors end the wait earlier."""
    kubernetes_start_seconds: PositiveFloat = 300
    """What else a pod needs on its node, a volume for example, takes seconds."""
    kubernetes_quota_seconds: PositiveFloat = 3600
    """Until a quota gives way: as long as a job may run by default."""
    kubernetes_node_lost_seconds: NonNegativeInt = 300
    """How long a node may not answer before its pods are given up; Kubernetes' own default."""
    kubernetes_allow_root: Literal["never", "trusted"] = "never"
    """Whether jobs with `user: root` run. trusted: those of people who may write to the repository, in a
    namespace that enforces `baseline` alone.
    """
    kubernetes_allow_node_selector: Names = ()
    """Labels of nodes that `kubernetes.node_selector` may name, separated by commas."""
    kubernetes_logs: Literal["api", "agent"] = "api"
    """How logs are read: followed through the API server, or by an agent on each node."""
    kubernetes_watch_seconds: PositiveFloat = Field(default=100, le=115)
    """How long a watch lasts before everything is listed anew: a silent one is noticed in under 120 s."""

    @field_validator("kubeconfig", mode="before")
    @classmethod
    def _path(cls, value: object) -> object:
        return value or None

    @field_validator("kubernetes_allow_node_selector", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        return (
            tuple(name.strip() for name in value.split(",") if name.strip())
            if isinstance(value, str)
            else value
        )


class ExecutorSettings(ServiceSettings, KubernetesSettings):
    """Read from the environment as TOWPATH_ + the field's name."""

    cluster: str = Field(default="local", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """The cluster that this executor serves."""
    database_plan_cache_mode: Literal["auto", "force_generic_plan"] = "force_generic_plan"
    message_batch: PositiveInt = 32
    """Messages handled in one transaction."""
    grace_seconds: PositiveFloat = 10
    """Between SIGTERM and SIGKILL. Steps with `always()` run in what is left of it."""
    gate_seconds: PositiveFloat = 300
    """How long a pod waits for its claim.

    A claim takes milliseconds; the rest is for a database that is away.
    """
    backend: Literal["local", "kubernetes"] = "local"
    """What the cluster is: processes of this machine, or Kubernetes."""
    start_seconds: PositiveFloat = 300
    """How long an attempt may wait for its start, on a full disk for example, before its slot goes to
    another.
    """
    clone_seconds: PositiveFloat = 600
    """A clone that takes longer hangs."""
    allow_local_clone_urls: bool = False
    """Whether file:// and http:// may be cloned: for demos and tests. https always may."""
    local_dir: Path = Path("/var/lib/towpath/local")
    """Where pods are. One folder for all executors of this machine and installation."""
    local_free_bytes: NonNegativeInt = 1 << 30
    """With less free disk no job begins: those that run need the rest for their logs."""
    local_mounts: Folders = ()
    """Folders outside its own that every job may write, where its user may."""
    local_hidden: Folders = ()
    """Folders that jobs in the sandbox see empty, beside those that are hidden anyway: pods, keys, home
    folders.
    """
    local_sandbox: Literal["auto", "bubblewrap", "none"] = "auto"
    """auto: bubblewrap where it works, else a warning."""
    local_network: Literal["auto", "own", "shared"] = "auto"
    """own: jobs have loopback and a network of their own, and slirp4netns connects it with the world. shared:
    they have the machine's. auto: own where it works, else shared with a warning in each run.
    """
    local_shm: Bytes = 64 << 20
    """Size of a job's own /dev/shm in bubblewrap, which is memory: bytes, or with a unit, such as 1Gi.

    Containers have the same size by default."""
    local_tmp: Bytes = 1 << 30
    """Size of a job's own /tmp in bubblewrap, and of its /var/tmp: each is memory too."""
    local_processes: PositiveInt = 4096
    """How many processes and threads all jobs of this machine may have together, where the executor runs as
    root: they are one user.
    """
    local_job_uid: int = Field(default=65530, ge=1, lt=2**31)
    """uid and gid of user code where the executor runs as root; the default belongs to nobody on systems of
    the systemd family.
    """
    local_clone_uid: int = Field(default=65531, ge=1, lt=2**31)
    """uid and gid of clones, which hold credentials: not the jobs'."""

    @field_validator("local_mounts", "local_hidden", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(Path(part) for part in value.split(":") if part) if isinstance(value, str) else value

    @field_validator("local_mounts", "local_hidden")
    @classmethod
    def _folders(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        for path in value:
            if not path.is_absolute() or not path.is_dir():
                raise ValueError(f"{path}: not the absolute path of a folder")
        return value
