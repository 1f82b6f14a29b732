"""Which PostgreSQL and RabbitMQ a stack uses: the machine's own programs run privately, else containers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from devstack.docker import DockerPostgres, DockerRabbit, docker_works, images_are_here
from devstack.install import install_missing, missing_servers
from devstack.postgres import PostgresNode
from devstack.rabbitmq import RabbitNode
from devstack.settings import DevstackSettings

Postgres = PostgresNode | DockerPostgres
Rabbit = RabbitNode | DockerRabbit


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
    """Durable servers for `make up`. Those of an earlier start are found again; what is missing must have been installed before."""
    if (directory / "postgres").exists() or not missing_servers():
        postgres = PostgresNode(directory / "postgres", port=settings.postgres_port)
        return Servers(postgres, RabbitNode(directory / "rabbitmq", port=settings.rabbitmq_port))
    docker_postgres = DockerPostgres(directory / "docker-postgres", port=settings.postgres_port)
    return Servers(docker_postgres, DockerRabbit(directory / "docker-rabbitmq", port=settings.rabbitmq_port))


def servers_for_tests(directory: Path, say: Callable[[str], None]) -> Servers:
    """Servers whose data may be lost: containers where Docker has the images, the machine's programs, or programs installed for it."""
    if docker_works() and images_are_here():
        return Servers(DockerPostgres(directory / "docker-postgres"), DockerRabbit(directory / "docker-rabbitmq"))
    install_missing(say)
    return Servers(PostgresNode(directory / "postgres", durable=False), RabbitNode(directory / "rabbitmq", management=True))
