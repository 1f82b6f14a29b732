"""PostgreSQL and RabbitMQ as containers on loopback, if no server is installed and none can be installed.

The classes have the same methods as `PostgresNode` and `RabbitNode`. The data is in the container: `stop`
keeps it, and `remove` deletes it.
"""

import shutil
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

from devstack.errors import DevstackError
from devstack.places import kept_secret
from devstack.ports import kept_ports
from devstack.processes import wait_until
from devstack.rabbitmq import USER, VHOST

READY_SECONDS = 120


def docker_works() -> bool:
    """Return True if a Docker daemon answers."""
    return shutil.which("docker") is not None and _docker("info", check=False).returncode == 0


class _Container(ABC):
    image: ClassVar[str]
    inner_port: ClassVar[int]
    ready_command: ClassVar[tuple[str, ...]]

    def __init__(self, directory: Path, *, port: int | None = None) -> None:
        self.directory = directory
        self._configured_port = port

    @property
    def port(self) -> int:
        return kept_ports(self.directory / "ports.json", {"server": self._configured_port})["server"]

    @property
    def _name(self) -> str:
        return f"towpath-{type(self).__name__.lower()}-{self.port}"

    def running(self) -> bool:
        return (
            _docker("inspect", "--format", "{{.State.Running}}", self._name, check=False).stdout.strip()
            == "true"
        )

    def start(self) -> None:
        """Start the container, or find it running. Return when the server accepts connections."""
        if _docker("start", self._name, check=False).returncode != 0:
            settings = [
                word for name, value in self._settings().items() for word in ("-e", f"{name}={value}")
            ]
            _docker(
                "run",
                "-d",
                "--name",
                self._name,
                "-p",
                f"127.0.0.1:{self.port}:{self.inner_port}",
                *settings,
                self.image,
            )
        if not wait_until(
            lambda: _docker("exec", self._name, *self.ready_command, check=False).returncode == 0,
            READY_SECONDS,
        ):
            raise DevstackError(
                f"the container {self._name} is not ready:\n"
                + _docker("logs", "--tail", "15", self._name, check=False).stderr
            )

    def stop(self) -> None:
        _docker("stop", self._name, check=False)

    def kill(self) -> None:
        _docker("kill", self._name, check=False)

    def pause(self) -> None:
        _docker("pause", self._name)

    def resume(self) -> None:
        _docker("unpause", self._name, check=False)

    def remove(self) -> None:
        _docker("rm", "--force", "--volumes", self._name, check=False)

    @abstractmethod
    def _settings(self) -> dict[str, str]:
        """Return the environment of the container."""

    def _password(self) -> str:
        return kept_secret(self.directory / "password")


class DockerPostgres(_Container):
    """PostgreSQL in a container."""

    image = "postgres:17.6-bookworm"
    inner_port = 5432
    # Over TCP, because at its first start the image listens on the socket before the setup is complete.
    ready_command = (
        "pg_isready",
        "-h",
        "127.0.0.1",
        "-U",
        USER,
    )

    def url(self, database: str) -> str:
        return f"postgresql://{USER}:{self._password()}@127.0.0.1:{self.port}/{quote(database)}"

    def _settings(self) -> dict[str, str]:
        return {"POSTGRES_USER": USER, "POSTGRES_DB": "postgres", "POSTGRES_PASSWORD": self._password()}


class DockerRabbit(_Container):
    """RabbitMQ in a container."""

    image = "rabbitmq:4.1.4"
    inner_port = 5672
    ready_command = ("rabbitmq-diagnostics", "check_port_listener", "5672")

    def url(self, vhost: str = VHOST) -> str:
        return f"amqp://{USER}:{self._password()}@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    def add_vhost(self, name: str) -> None:
        """Create a virtual host on which the user has all permissions. Safe to repeat."""
        _docker("exec", self._name, "rabbitmqctl", "add_vhost", name, check=False)
        _docker("exec", self._name, "rabbitmqctl", "set_permissions", "-p", name, USER, ".*", ".*", ".*")

    def delete_vhost(self, name: str) -> None:
        _docker("exec", self._name, "rabbitmqctl", "delete_vhost", name, check=False)

    def _settings(self) -> dict[str, str]:
        return {
            "RABBITMQ_DEFAULT_USER": USER,
            "RABBITMQ_DEFAULT_PASS": self._password(),
            "RABBITMQ_DEFAULT_VHOST": VHOST,
        }


def _docker(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=600, check=False)
    if check and done.returncode != 0:
        raise DevstackError(f"docker {' '.join(arguments[:2])} failed: {done.stderr.strip()}")
    return done
