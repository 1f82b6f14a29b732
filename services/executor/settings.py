"""The executor's settings."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator
from pydantic_settings import NoDecode

from shared.settings import ServiceSettings

Folders = Annotated[tuple[Path, ...], NoDecode]
"""Absolute paths separated by colons."""


class ExecutorSettings(ServiceSettings):
    """Read from the environment as TOWPATH_ + the field's name."""

    cluster: str = Field(default="local", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """The cluster that this executor serves."""
    database_plan_cache_mode: Literal["auto", "force_generic_plan"] = "force_generic_plan"
    message_batch: PositiveInt = 32
    """Messages handled in one transaction."""
    grace_seconds: PositiveFloat = 10
    """Between SIGTERM and SIGKILL."""
    gate_seconds: PositiveFloat = 300
    """How long a pod waits for its claim. A claim takes milliseconds; the rest is for a database that is away."""
    start_seconds: PositiveFloat = 300
    """How long an attempt may wait for its start, on a full disk for example, before its slot goes to another."""
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
    """Folders that jobs in the sandbox see empty, beside those that are hidden anyway: pods, keys, home folders."""
    local_sandbox: Literal["auto", "bubblewrap", "none"] = "auto"
    """auto: bubblewrap where it works, else a warning."""
    local_job_uid: int = Field(default=65530, ge=1, lt=2**31)
    """uid and gid of user code where the executor runs as root; the default belongs to nobody on systems of the systemd family."""
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
