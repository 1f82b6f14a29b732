"""Chooses the PostgreSQL and RabbitMQ of a stack: private servers if they are installed, else containers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from devstack.docker import DockerPostgres, DockerRabbit
from devstack.install import missing_servers
from devstack.postgres import PostgresNode
from devstack.rabbitmq import VHOST, RabbitNode
from devstack.settings import DevstackSettings


class Server(Protocol):
    """A private server on loopback. Every method is safe to repeat, and blocks until it is done."""

    directory: Path

    @property
    def port(self) -> int: ...
    def running(self) -> bool: ...
    def start(self) -> None:
        """Start the server, or find it running. Return when it accepts connections."""

    def stop(self) -> None:
        """Stop the server cleanly. Its data stays."""

    def kill(self) -> None:
        """End the server at once, as in a crash. Its data stays."""

    def pause(self) -> None:
        """Suspend the server. Connections stay open, and nothing answers."""

    def resume(self) -> None: ...


class Postgres(Server, Protocol):
    def url(self, database: str) -> str: ...


class Rabbit(Server, Protocol):
    def url(self, vhost: str = VHOST) -> str: ...
    def add_vhost(self, name: str) -> None:
        """Create a virtual host on which the server's user has all permissions."""

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host and everything in it."""


@dataclass(frozen=True)
class Servers:
    """A PostgreSQL and a RabbitMQ."""

    postgres: Postgres
    rabbit: Rabbit

    def start(self) -> None:
        """Start both. Safe to repeat."""
        self.postgres.start()
        self.rabbit.start()

    def stop(self) -> None:
        self.rabbit.stop()
        self.postgres.stop()


def servers_for_use(directory: Path, settings: DevstackSettings) -> Servers:
    """Return durable servers for `make up`. Missing programs must be installed before.

    Servers of an earlier start are found again.
    """
    if (directory / "postgres").exists() or not missing_servers():
        postgres = PostgresNode(directory / "postgres", port=settings.postgres_port)
        return Servers(postgres, RabbitNode(directory / "rabbitmq", port=settings.rabbitmq_port))
    docker_postgres = DockerPostgres(directory / "docker-postgres", port=settings.postgres_port)
    return Servers(docker_postgres, DockerRabbit(directory / "docker-rabbitmq", port=settings.rabbitmq_port))
