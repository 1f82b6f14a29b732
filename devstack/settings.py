"""Settings of the stack on one machine. It is the only module of the package that reads the environment."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

Port = int | None

STACK_VARIABLE = "TOWPATH_STACK"
"""Marks every process of a stack, so that tests can prove that a stack has ended."""


class DevstackSettings(BaseSettings):
    """Settings of `python -m devstack`. Ports that are not set are chosen once and kept."""

    model_config = SettingsConfigDict(env_prefix="TOWPATH_", frozen=True, env_ignore_empty=True)

    port: Port = Field(default=None, ge=1, le=65535)
    """The port of the gateway, which people type. None: 8420, or a free port if 8420 is in use."""

    postgres_port: Port = Field(default=None, ge=1, le=65535)
    """None: a free port, so that it does not conflict with a server that is already running."""

    rabbitmq_port: Port = Field(default=None, ge=1, le=65535)
    """None: a free port, for the same reason."""

    replicas: int = Field(default=1, ge=1, le=9)
    """Processes per service. 9 is far more than one machine can use."""

    ready_seconds: float = Field(default=60, gt=0)
    """Limit for the start of a service.

    A start takes about 2 s on an idle machine, and many times that on a busy one.
    """

    backend: Literal["local", "kubernetes"] = "local"
    """`local` runs jobs as processes of this machine.

    `kubernetes` runs them as pods of the cluster that KUBECONFIG names.
    """

    kubernetes_namespace: str = "towpath-builds"
    """The namespace of the jobs in that cluster."""

    kubernetes_towpath_image: str = "towpath:latest"
    """The image for the clone container of jobs. The cluster must have it or be able to pull it."""

    overlay: str = "dev"
    """The overlay for `make deploy`: a name below deploy/k8s/overlays, or a folder."""

    dry_run: bool = False
    """If True, `make release` only checks and builds nothing that stays."""

    image: str = Field(default="towpath", pattern=r"^[a-z0-9][\w./:-]*$")
    """The name of the image that `make images` builds. Include a registry's address to push it there."""

    advisories_url: str | None = Field(default=None, pattern=r"^https?://")
    """PyPI's JSON API for `make audit`, without `/<package>/<version>/json`. None: that of pip's index."""

    image_archive: Path | None = None
    """A file to which `make images` also writes the image as a docker-archive. None: no file."""


class PortSettings(BaseSettings):
    """The range for ports that are not configured."""

    model_config = SettingsConfigDict(env_prefix="TOWPATH_", frozen=True, env_ignore_empty=True)

    port_range: str = Field(default="20000-29999", pattern=r"^[0-9]{1,5}-[0-9]{1,5}$")
    """Includes both ends.

    The default is below the kernel's range for outgoing connections (32768 and up). Stacks that start at the
    same time get separate ranges, so that they do not choose the same port.
    """


class ServerSources(BaseSettings):
    """The PostgreSQL and RabbitMQ of the tests. An address takes precedence over `servers`."""

    model_config = SettingsConfigDict(env_prefix="TOWPATH_TEST_", frozen=True, env_ignore_empty=True)

    database_url: SecretStr | None = None
    """A PostgreSQL whose user may create databases. Each test creates its own database and drops it."""

    amqp_url: SecretStr | None = None
    """A RabbitMQ whose user has all permissions in the virtual host of the address.

    Tests share it, so they run one at a time.
    """

    servers: Literal["auto", "local", "containers"] = "auto"
    """`local` starts private servers from programs of this machine, and installs missing programs.

    `containers` uses testcontainers with the Docker engine that DOCKER_HOST names. `auto` uses containers
    only if a program is missing and an engine answers. Otherwise it does the same as `local`.
    """


def inherited_environment(stack: Path, values: Mapping[str, str | Path | int]) -> dict[str, str]:
    """Return the environment for a new process: ours, these values, and the directory of its stack.

    Variables that configure other servers are removed.
    """
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("RABBITMQ_", "PG", "ERL_", "TOWPATH_TEST_"))
    }
    return ours | {name: str(value) for name, value in values.items()} | {STACK_VARIABLE: str(stack)}


def port_range() -> tuple[int, int]:
    """Return the lowest and the highest port of the range."""
    lowest, _, highest = PortSettings().port_range.partition("-")
    return int(lowest), int(highest)


def system_variable(name: str) -> str:
    """Return a variable of the system, such as PATH, or an empty string if it is not set."""
    return os.environ.get(name, "")
