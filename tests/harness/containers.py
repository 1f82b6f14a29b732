"""PostgreSQL and RabbitMQ as containers for tests, with the methods of `PostgresNode` and `RabbitNode`.

testcontainers makes the containers. The name of a container and its port on this machine are derived from the
server's directory. So another process that knows the directory finds the running server, and an address stays
the same after a restart. `stop` and `kill` keep the container and its data; `remove` deletes both.

Ryuk, the container with which testcontainers cleans up after a process that died, is off: the owner of the
directory calls `remove`. The Docker engine must be on this machine, because servers are reached on loopback.
"""

import hashlib
import json
import logging
import shlex
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote

import docker
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container
from testcontainers.community.postgres import PostgresContainer
from testcontainers.community.rabbitmq import RabbitMqContainer
from testcontainers.core.config import ConnectionMode, testcontainers_config
from testcontainers.core.container import DockerContainer

from devstack.docker import DockerPostgres, DockerRabbit
from devstack.errors import DevstackError
from devstack.places import kept_secret
from devstack.ports import is_free, kept_ports
from devstack.postgres import USER
from devstack.processes import wait_until
from devstack.rabbitmq import VHOST, speaks_amqp

LABEL = "dev.towpath.test-server"
"""Label of the containers of tests. Its value is the server's directory."""

READY_SECONDS = 120
"""Bound of a start, which takes 5 to 10 s on an idle machine.

The download of an image that is not on this machine yet does not count.
"""

STOP_SECONDS = 60
"""Bound of an orderly stop before the container is killed. A stop usually takes 1 to 8 s."""

PAUSE_SECONDS = 20

testcontainers_config.ryuk_disabled = True
testcontainers_config.connection_mode_override = ConnectionMode.docker_host
testcontainers_config.max_tries, testcontainers_config.sleep_time = READY_SECONDS * 2, 0.5
logging.getLogger("pika").setLevel(
    logging.CRITICAL
)  # testcontainers connects until the broker is up, and each refusal logs a page of errors


class ContainerServer(ABC):
    """A server in a container. Every method is safe to repeat."""

    kind: ClassVar[str]
    inner_port: ClassVar[int]

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def port(self) -> int:
        return kept_ports(self.directory / "ports.json", {"server": None})["server"]

    @property
    def name(self) -> str:
        digest = hashlib.sha256(str(self.directory.resolve()).encode()).hexdigest()[:16]
        return f"towpath-test-{self.kind}-{digest}"

    def running(self) -> bool:
        found = self._found()
        return found is not None and found.status in {"running", "paused"}

    def start(self) -> None:
        """Start the server if it does not run. Return when it accepts connections."""
        found = self._found()
        try:
            if found is None:
                made = self._make()
                made.start()
                made.get_docker_client().client.close()
            elif found.status not in {"running", "paused"}:
                found.start()
            ready = wait_until(lambda: self._ready() or not self.running(), READY_SECONDS) and self.running()
        except (DockerException, TimeoutError) as error:
            raise DevstackError(
                f"the container {self.name} can't be started: {error}\n{self._log_end()}"
            ) from error
        if not ready:
            raise DevstackError(f"the container {self.name} is not ready:\n{self._log_end()}")

    def stop(self) -> None:
        """Stop the server in an orderly way, with the image's own stop signal."""
        self.resume()
        found = self._found()
        if found is not None:
            found.stop(timeout=STOP_SECONDS)
            self._wait_until_gone()

    def kill(self) -> None:
        """Send SIGKILL to all its processes at once, even if it is paused."""
        found = self._found()
        if found is not None and found.status in {"running", "paused"}:
            found.kill()
            self._wait_until_gone()

    def pause(self) -> None:
        """Freeze all its processes: connections stay open and nothing answers.

        The engine returns an error if a process is not frozen within milliseconds, which happens on a busy
        machine. The call is therefore repeated.
        """
        refusals: list[APIError] = []

        def paused() -> bool:
            found = self._found()
            try:
                if found is not None and found.status == "running":
                    found.pause()
            except APIError as error:
                refusals.append(error)
                return False
            return True

        if not wait_until(paused, PAUSE_SECONDS):
            raise DevstackError(f"the container {self.name} can't be paused: {refusals[-1]}")

    def resume(self) -> None:
        found = self._found()
        if found is not None and found.status == "paused":
            found.unpause()

    def remove(self) -> None:
        """Delete the container and its data in any state."""
        found = self._found()
        if found is not None:
            found.remove(force=True, v=True)

    @abstractmethod
    def _container(self) -> DockerContainer:
        """Return the container to start, without a name and without a port on this machine."""

    @abstractmethod
    def _ready(self) -> bool:
        """Return whether the server accepts connections."""

    @cached_property
    def _engine(self) -> docker.DockerClient:
        return engine()

    def _found(self) -> Container | None:
        """Return the container in its current state, or None if there is none."""
        try:
            return self._engine.containers.get(self.name)
        except NotFound:
            return None

    def _make(self) -> DockerContainer:
        self.directory.mkdir(parents=True, exist_ok=True)
        container = (
            self._container()
            .with_name(self.name)
            .with_kwargs(hostname=self.kind, labels={LABEL: str(self.directory)})
        )
        address = ("127.0.0.1", self.port)
        container.ports = {f"{self.inner_port}/tcp": address}  # type: ignore[dict-item]  # docker takes pairs
        return container

    def _run(self, argv: Sequence[str]) -> tuple[int, str]:
        """Run a program in the container and return its exit status and output.

        The status is 126 if the container does not run.
        """
        found = self._found()
        if found is None:
            return 126, "there is no container"
        try:
            done = found.exec_run(list(argv))
        except APIError as error:
            return 126, str(error)
        return done.exit_code, done.output.decode(errors="replace")

    def _wait_until_gone(self) -> None:
        """Wait until the port is free too, which is a little later than the end of the container."""
        if not wait_until(lambda: not self.running() and is_free(self.port), STOP_SECONDS):
            raise DevstackError(f"the container {self.name} does not end")

    def _password(self) -> str:
        return kept_secret(self.directory / "password")

    def _log_end(self) -> str:
        found = self._found()
        return "  (no container)" if found is None else found.logs(tail=15).decode(errors="replace")


class PostgresInContainer(ContainerServer):
    """PostgreSQL. Its data survives SIGKILL, but not a crash of the machine: it is not flushed to disk."""

    kind = "postgres"
    inner_port = 5432

    def url(self, database: str) -> str:
        return f"postgresql://{USER}:{self._password()}@127.0.0.1:{self.port}/{quote(database)}"

    def _container(self) -> DockerContainer:
        settings = (
            "max_connections=600",
            "max_wal_size=512MB",
            "fsync=off",
            "full_page_writes=off",
            "timezone=UTC",
            "log_timezone=UTC",
        )
        container = PostgresContainer(
            DockerPostgres.image, username=USER, password=self._password(), dbname="postgres", driver=None
        )
        return container.with_command(
            ["postgres", *(word for setting in settings for word in ("-c", setting))]
        )

    def _ready(self) -> bool:
        return self._run(["pg_isready", "--quiet", "--host=127.0.0.1", f"--username={USER}"])[0] == 0


class RabbitInContainer(ContainerServer):
    """RabbitMQ.

    `rabbitmqctl` in the container creates and deletes virtual hosts. Each command takes about 0.6 s.
    """

    kind = "rabbitmq"
    inner_port = 5672

    def url(self, vhost: str = VHOST) -> str:
        return f"amqp://{USER}:{self._password()}@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    def add_vhost(self, name: str) -> None:
        """Create a virtual host on which the server's user has all permissions. Safe to repeat."""
        rights = {"user": USER, "vhost": name, "configure": ".*", "write": ".*", "read": ".*"}
        made = json.dumps(
            {"vhosts": [{"name": name}], "permissions": [rights]}
        )  # one call for both, because each rabbitmqctl takes seconds
        self._checked(["sh", "-c", 'printf %s "$0" | rabbitmqctl --quiet import_definitions', made])

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host with its contents. Does nothing if it does not exist."""
        argv = ["rabbitmqctl", "--quiet", "delete_vhost", name]
        status, output = self._run(argv)
        if status != 0 and name in self.control("list_vhosts", "--no-table-headers").splitlines():
            raise DevstackError(f"{shlex.join(argv)} ended with {status}:\n{output}")

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl` and return its output."""
        return self._checked(["rabbitmqctl", "--quiet", *arguments])

    def _container(self) -> DockerContainer:
        return RabbitMqContainer(
            DockerRabbit.image, port=self.inner_port, username=USER, password=self._password(), vhost=VHOST
        )

    def _ready(self) -> bool:
        return speaks_amqp(self.port)

    def _checked(self, argv: Sequence[str]) -> str:
        status, output = self._run(argv)
        if status != 0:
            raise DevstackError(f"{shlex.join(argv)} ended with {status}:\n{output}")
        return output


def engine() -> docker.DockerClient:
    """Return a client of the Docker engine that DOCKER_HOST names, or of this machine's engine.

    Raises DevstackError if no engine answers.
    """
    try:
        client = docker.from_env(timeout=STOP_SECONDS + 30)
        client.ping()
    except DockerException as error:
        raise DevstackError(f"no Docker engine answers: {error}") from error
    return client
