"""What a person may set for the stack on one machine. The only module of this package that reads the environment."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = int | None

STACK_VARIABLE = "TOWPATH_STACK"
"""Marks every process of a stack, so that the end of a stack can be proven."""


class DevstackSettings(BaseSettings):
    """Read once by a command of `python -m devstack`. Ports not given are chosen free and kept."""

    model_config = SettingsConfigDict(env_prefix="TOWPATH_", frozen=True, env_ignore_empty=True)

    port: Port = Field(default=None, ge=1, le=65535)
    """The gateway's, the one address that people type. None: 8420, or a free one where somebody has that."""

    postgres_port: Port = Field(default=None, ge=1, le=65535)
    """None: a free one, so that a server that is there already is not in the way."""

    rabbitmq_port: Port = Field(default=None, ge=1, le=65535)
    """None: a free one, for the same reason."""

    replicas: int = Field(default=1, ge=1, le=9)
    """Processes per service. 9 is far more than one machine can use."""

    ready_seconds: float = Field(default=60, gt=0)
    """How long a service may take to start: about 2 s on an idle machine, many times that on a busy one."""

    backend: Literal["local", "kubernetes"] = "local"
    """What jobs run on: processes of this machine, or the cluster of KUBECONFIG."""

    kubernetes_namespace: str = "towpath-builds"
    """Where jobs run there."""

    kubernetes_towpath_image: str = "towpath:latest"
    """The image that jobs clone with; the cluster must have it or be able to fetch it."""

    overlay: str = "dev"
    """What `make deploy` applies: a name below deploy/k8s/overlays, or a folder."""

    dry_run: bool = False
    """Whether `make release` only checks that it could."""

    image: str = Field(default="towpath", pattern=r"^[a-z0-9][\w./:-]*$")
    """What `make images` calls the image; with a registry's address before it where the image is to be pushed."""

    image_archive: Path | None = None
    """Where `make images` also writes the image as a docker-archive, for clusters that load one; None: nowhere."""


class PortSettings(BaseSettings):
    """Where ports that nobody configured are chosen from."""

    model_config = SettingsConfigDict(env_prefix="TOWPATH_", frozen=True, env_ignore_empty=True)

    port_range: str = Field(default="20000-29999", pattern=r"^[0-9]{1,5}-[0-9]{1,5}$")
    """Both ends belong to it. The default lies below the range that the kernel gives to outgoing connections (32768 and up). Stacks that start at
    the same moment are given ranges of their own, so that no two choose the same port."""


class ServerSources(BaseSettings):
    """Where the tests get PostgreSQL and RabbitMQ from. An address that is given here comes before `servers`."""

    model_config = SettingsConfigDict(env_prefix="TOWPATH_TEST_", frozen=True, env_ignore_empty=True)

    database_url: SecretStr | None = None
    """A PostgreSQL whose user may create databases; each test makes its own and drops it."""

    amqp_url: SecretStr | None = None
    """A RabbitMQ whose user may do everything in the virtual host of the address; tests share it, so they run one at a time."""

    servers: Literal["auto", "local", "containers"] = "auto"
    """`local`: private servers, by the programs of this machine, which are installed where missing. `containers`: by testcontainers, with the
    Docker engine that DOCKER_HOST names. `auto`: containers only where a program is missing and an engine answers; else as `local`."""


def inherited_environment(stack: Path, values: Mapping[str, str | Path | int]) -> dict[str, str]:
    """What a started process gets: our environment without other servers' settings, these values, and the directory of the stack it belongs to."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "PG", "ERL_", "TOWPATH_TEST_"))}
    return ours | {name: str(value) for name, value in values.items()} | {STACK_VARIABLE: str(stack)}


def port_range() -> tuple[int, int]:
    """The lowest and the highest port of the range."""
    lowest, _, highest = PortSettings().port_range.partition("-")
    return int(lowest), int(highest)


def system_variable(name: str) -> str:
    """A variable of the system, such as PATH; empty where it is not set."""
    return os.environ.get(name, "")
