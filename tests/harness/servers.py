"""The PostgreSQL and RabbitMQ of the tests: programs of this machine that run privately, or containers.

TOWPATH_TEST_SERVERS chooses.
"""

from collections.abc import Callable
from pathlib import Path

from devstack.docker import docker_works
from devstack.errors import DevstackError
from devstack.install import install_missing, missing_servers
from devstack.postgres import PostgresNode
from devstack.rabbitmq import RabbitNode
from devstack.servers import Servers
from devstack.settings import ServerSources


def servers_for_tests(directory: Path, say: Callable[[str], None]) -> Servers:
    """Return servers whose data may be lost. They are not started yet.

    If an earlier call started servers in this directory, these are found again. Raises DevstackError if
    containers were chosen and no Docker engine answers.
    """
    if containers_are_chosen():
        return in_containers(directory)
    install_missing(say)
    return Servers(
        PostgresNode(directory / "postgres", durable=False),
        RabbitNode(directory / "rabbitmq", management=True),
    )


def containers_are_chosen() -> bool:
    """Return whether the servers run in containers.

    With the setting `auto` they do if a server program is missing and Docker works.
    """
    chosen = ServerSources().servers
    if chosen == "auto":
        return bool(missing_servers()) and docker_works()
    return chosen == "containers"


def in_containers(directory: Path) -> Servers:
    """Return servers in containers. Raises DevstackError with advice if no Docker engine answers."""
    from tests.harness import containers  # noqa: PLC0415 - takes 0.7 s

    try:
        containers.engine().close()
    except DevstackError as error:
        advice = "start Docker, set DOCKER_HOST, or run the tests without TOWPATH_TEST_SERVERS=containers"
        raise DevstackError(
            f"the tests are to use PostgreSQL and RabbitMQ in containers, but {error}: {advice}"
        ) from error
    return Servers(
        containers.PostgresInContainer(directory / "postgres"),
        containers.RabbitInContainer(directory / "rabbitmq"),
    )


def discard(servers: Servers) -> None:
    """End both servers and delete their containers.

    SIGKILL comes first, because the data is not needed and an orderly stop takes seconds.
    """
    for server in (servers.rabbit, servers.postgres):
        server.kill()
        remove = getattr(server, "remove", server.stop)
        remove()
