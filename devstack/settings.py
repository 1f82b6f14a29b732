"""Settings of the stack on one machine. Only this module of the package reads the environment."""

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
    """Limit for the start of a service.

    It takes about 2 s on an idle machine, and many times that on a busy one.
    """

    backend: Literal["local", "kubernetes"] = "local"
    """`local`: jobs are processes of this machine.

    `kubernetes`: they are pods of the cluster that KUBECONFIG names.
    """

    kubernetes_namespace: str = "towpath-builds"
    """The namespace of the jobs in that cluster."""

    kubernetes_towpath_image: str = "towpath:latest"
    """The image that jobs clone with; the cluster must have it or be able to fetch it."""

    overlay: str = "dev"
    """The overlay for `make deploy`: a name below deploy/k8s/overlays, or a folder."""

    dry_run: bool = False
    """Whether `make release` only checks that it could."""

    image: str = Field(default="towpath", pattern=r"^[a-z0-9][\w./:-]*$")
    """The name of the image that `make images` builds. Give it with a registry's address to push it there."""

    advisories_url: str | None = Field(default=None, pattern=r"^https?://")
    """PyPI's JSON API for `make audit`, without `/<package>/<version>/json`. None: that of pip's index."""

    image_archive: Path | None = None
    """A file to which `make images` also writes the image as a docker-archive. None: it writes no file."""


class PortSettings(BaseSettings):
    """The range from which ports are chosen that nobody configured."""

    model_config = SettingsConfigDict(env_prefix="TOWPATH_", frozen=True, env_ignore_empty=True)

    port_range: str = Field(default="20000-29999", pattern=r"^[0-9]{1,5}-[0-9]{1,5}$")
    """Both ends belong to it.

    The default lies below the range that the kernel gives to outgoing connections (32768 and up). Stacks that
    start at the same moment are given ranges of their own, so that no two choose the same port.
    """


class ServerSources(BaseSettings):
    """The PostgreSQL and RabbitMQ of the tests. A given address counts more than `servers`."""

    model_config = SettingsConfigDict(env_prefix="TOWPATH_TEST_", frozen=True, env_ignore_empty=True)

    database_url: SecretStr | None = None
    """A PostgreSQL whose user may create databases; each test makes its own and drops it."""

    amqp_url: SecretStr | None = None
    """A RabbitMQ whose user may do everything in the virtual host of the address; tests share it, so they run
    one at a time.
    """

    servers: Literal["auto", "local", "containers"] = "auto"
    """`local`: private servers, by the programs of this machine, which are installed where missing.

    `containers`: by testcontainers, with the Docker engine that DOCKER_HOST names. `auto`: containers only
    where a program is missing and an engine answers; else as `local`.
    """


def inherited_environment(stack: Path, values: Mapping[str, str | Path | int]) -> dict[str, str]:
    """The environment of a process to be started: ours without the settings of other servers, these values,
    and the directory of its stack.
    """
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RABBITMQ_", "PG", "ERL_", "TOWPATH_TEST_"))
    }
    return ours | {name: str(value) for name, value in values.items()} | {STACK_VARIABLE: str(stack)}


def port_range() -> tuple[int, int]:
    """The lowest and the highest port of the range."""
    lowest, _, highest = PortSettings().port_range.partition("-")
    return int(lowest), int(highest)


def system_variable(name: str) -> str:
    """A variable of the system, such as PATH; empty where it is not set."""
    return os.environ.get(name, "")
