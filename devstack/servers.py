"""Chooses the PostgreSQL and RabbitMQ of a stack: private servers from the machine's programs, else
containers.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from devstack.docker import DockerPostgres, DockerRabbit
from devstack.install import missing_servers
from devstack.postgres import PostgresNode
from devstack.rabbitmq import VHOST, RabbitNode
from devstack.settings import DevstackSettings


class Server(Protocol):
    """A private server on loopback. Every method may be repeated and blocks until it is done."""

    directory: Path

    @property
    def port(self) -> int: ...
    def running(self) -> bool: ...
    def start(self) -> None:
        """Start it, or find it running; returns when it takes connections."""

    def stop(self) -> None:
        """End it in order. Its data stays."""

    def kill(self) -> None:
        """End it at once, as a crash would. Its data stays."""

    def pause(self) -> None:
        """Stop it where it is: connections stay open and nothing answers."""

    def resume(self) -> None: ...


class Postgres(Server, Protocol):
    def url(self, database: str) -> str: ...


class Rabbit(Server, Protocol):
    def url(self, vhost: str = VHOST) -> str: ...
    def add_vhost(self, name: str) -> None:
        """Make a virtual host on which the server's user may do everything."""

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host with all that is in it."""


@dataclass(frozen=True)
class Servers:
    """A pair of servers that share a directory."""

    postgres: Postgres
    rabbit: Rabbit

    def start(self) -> None:
        """Both; safe to repeat."""
        self.postgres.start()
        self.rabbit.start()

    def stop(self) -> None:
        self.rabbit.stop()
        self.postgres.stop()


def servers_for_use(directory: Path, settings: DevstackSettings) -> Servers:
    """Durable servers for `make up`.

    Those of an earlier start are found again; what is missing must have been installed before.
    """
    if (directory / "postgres").exists() or not missing_servers():
        postgres = PostgresNode(directory / "postgres", port=settings.postgres_port)
        return Servers(postgres, RabbitNode(directory / "rabbitmq", port=settings.rabbitmq_port))
    docker_postgres = DockerPostgres(directory / "docker-postgres", port=settings.postgres_port)
    return Servers(docker_postgres, DockerRabbit(directory / "docker-rabbitmq", port=settings.rabbitmq_port))
