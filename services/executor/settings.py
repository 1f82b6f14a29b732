"""The executor's settings."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator
from pydantic_settings import NoDecode

from shared.pipeline.values import cpu_millis, label_key, label_value, memory_bytes
from shared.settings import ServiceSettings, Settings

Folders = Annotated[tuple[Path, ...], NoDecode]
"""Absolute paths separated by colons."""
Names = Annotated[tuple[str, ...], NoDecode]
Labels = Annotated[dict[str, str], NoDecode]
"""Labels with their values: `key=value`, separated by commas."""
Cpu = Annotated[
    PositiveInt, BeforeValidator(lambda value: cpu_millis(value) if isinstance(value, str) else value)
]
"""Thousandths of a core."""
Bytes = Annotated[
    PositiveInt, BeforeValidator(lambda value: memory_bytes(value) if isinstance(value, str) else value)
]


class KubernetesSettings(Settings):
    """Settings for a Kubernetes cluster. The local cluster does not use them."""

    kubeconfig: Path | None = None
    """Path of a kubeconfig, whose current context is used.

    Empty: the cluster in which this process runs, with its service account.
    """
    kubernetes_namespace: str = Field(
        default="towpath-builds", pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
    )
    """The namespace in which attempts run. Nothing else should run there."""
    kubernetes_towpath_image: str = "towpath:latest"
    """Towpath's own image, for the containers `clone` and `outputs`."""
    kubernetes_default_image: str = "debian:bookworm-slim"
    """The image of jobs without `image`."""
    kubernetes_cpu: Cpu = 500
    """CPU request and limit of jobs without their own: cores or thousandths, such as 2 or 500m."""
    kubernetes_memory: Bytes = 512 << 20
    """Memory of jobs without their own value, and of each service: bytes, or with a unit, such as 1Gi."""
    kubernetes_ephemeral_storage: Bytes = 4 << 30
    """Limit for the workspace and the logs of a job. A job that writes more is evicted."""
    kubernetes_unscheduled_seconds: PositiveFloat = 300
    """Limit for finding a node. A cluster autoscaler takes 2 to 4 minutes to add one."""
    kubernetes_image_pull_seconds: PositiveFloat = 600
    """Limit for large images on slow registries. An error of the registry ends the wait earlier."""
    kubernetes_start_seconds: PositiveFloat = 300
    """Limit for all other preparation on the node, such as mounting a volume, which takes seconds."""
    kubernetes_quota_seconds: PositiveFloat = 3600
    """Limit for waiting for a quota. The default is a job's default time limit."""
    kubernetes_node_lost_seconds: NonNegativeInt = 300
    """Time for which a node may not answer before its pods are given up.

    The default is that of Kubernetes.
    """
    kubernetes_allow_root: Literal["never", "trusted"] = "never"
    """Whether jobs with `user: root` may run.

    `trusted` allows them for people who may write to the repository. The namespace must then enforce only the
    level `baseline`.
    """
    kubernetes_allow_node_selector: Names = ()
    """Node labels that `kubernetes.node_selector` may use, separated by commas."""
    kubernetes_logs: Literal["api", "agent"] = "api"
    """The way in which logs are read: through the API server (`api`), or by an agent on each node
    (`agent`).
    """
    kubernetes_watch_seconds: PositiveFloat = Field(default=100, le=115)
    """Duration of a watch, after which all objects are listed again.

    A silent one is noticed in under 120 s.
    """

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
    """The executor's settings, read from the environment as TOWPATH_ + the field's name."""

    cluster: str = Field(default="local", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """The name of the cluster that this executor serves."""
    cluster_labels: Labels = Field(default_factory=dict)
    """Labels that jobs can ask for with `cluster`, such as region=eu,arch=arm64.

    All executors of a cluster have the same labels.
    """
    database_plan_cache_mode: Literal["auto", "force_generic_plan"] = "force_generic_plan"
    message_batch: PositiveInt = 32
    """Maximum number of messages that are handled together."""
    grace_seconds: PositiveFloat = 10
    """Seconds between SIGTERM and SIGKILL for jobs without `stop_grace`.

    Steps with `always()` and `cancelled()` run in the rest of this time.
    """
    gate_seconds: PositiveFloat = 300
    """Time that a pod waits for its claim.

    A claim takes milliseconds; the rest allows for an outage of the database.
    """
    backend: Literal["local", "kubernetes"] = "local"
    """The kind of cluster: processes of this machine, or Kubernetes."""
    start_seconds: PositiveFloat = 300
    """Time that an attempt may wait for its start, for example on a full disk.

    After that, its slot goes to another attempt.
    """
    clone_seconds: PositiveFloat = 600
    """Time limit of a clone. A clone that takes longer is considered hung."""
    ref_seconds: PositiveFloat = 60
    """Time limit for asking a repository's server which commit a branch, tag or SHA is."""
    refs_at_once: PositiveInt = 4
    """Servers that are asked at once. Each takes a process of git."""
    ref_give_up_seconds: PositiveFloat = 600
    """Time after which a server that does not answer is not asked again, and the run is not started."""
    allow_local_clone_urls: bool = False
    """Whether file:// and http:// URLs may be cloned, for demos and tests. https:// is always allowed."""
    local_dir: Path = Path("/var/lib/towpath/local")
    """The folder that holds the pods. All executors of this machine and installation use the same folder."""
    local_free_bytes: NonNegativeInt = 1 << 30
    """Free disk space below which no job starts. The rest is left for the logs of running jobs."""
    local_mounts: Folders = ()
    """Folders outside its own that every job may write, if its user may."""
    local_hidden: Folders = ()
    """Folders that jobs in the sandbox see empty, in addition to pods, keys and home folders."""
    local_sandbox: Literal["auto", "bubblewrap", "none"] = "auto"
    """`auto` uses bubblewrap if it works, and otherwise logs a warning."""
    local_network: Literal["auto", "own", "shared"] = "auto"
    """The network of jobs.

    `own`: jobs have a loopback and a network of their own, which slirp4netns connects to other machines.
    `shared`: jobs use the machine's network. `auto`: `own` if it works, else `shared` with a warning in each
    run.
    """
    local_shm: Bytes = 64 << 20
    """Size of a job's own /dev/shm in bubblewrap, which uses memory: bytes, or with a unit, such as 1Gi.

    Containers have the same size by default.
    """
    local_tmp: Bytes = 1 << 30
    """Size of a job's own /tmp in bubblewrap, and of its /var/tmp. Each uses memory."""
    local_processes: PositiveInt = 4096
    """Maximum number of processes and threads of all jobs of this machine together.

    Applies only if the executor runs as root, because all jobs are then one user.
    """
    local_job_uid: int = Field(default=65530, ge=1, lt=2**31)
    """uid and gid of user code if the executor runs as root.

    Systems of the systemd family assign the default to no user.
    """
    local_clone_uid: int = Field(default=65531, ge=1, lt=2**31)
    """uid and gid of clones if the executor runs as root.

    Clones hold credentials, so jobs use another uid.
    """

    @field_validator("cluster_labels", mode="before")
    @classmethod
    def _labels(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = (pair.partition("=")[::2] for pair in value.split(",") if pair.strip())
        return {label_key(key.strip()): label_value(text.strip()) for key, text in pairs}

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
