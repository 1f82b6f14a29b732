"""`make up`, `make down` and `make status`: the stack of this checkout, with all its files in `.towpath`.

`up` is safe to repeat and starts only what is not running. After `down` no process of the stack is left,
including its epmd and its jobs.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from devstack import processes
from devstack.assets import fetch_assets
from devstack.databases import create_database
from devstack.errors import DevstackError
from devstack.install import install_missing
from devstack.kubernetes import kubernetes_environment, prepare_cluster
from devstack.places import state_directory
from devstack.ports import prefer_port
from devstack.servers import Servers, servers_for_use
from devstack.settings import DevstackSettings
from devstack.stack import CHECKOUT, GATEWAY_PORT, SERVICES, Stack
from devstack.state import key_file, read_environment, write_environment

DATABASE = "towpath"
Say = Callable[[str], None]


@dataclass(frozen=True)
class Installation:
    """The servers and services of the checkout."""

    directory: Path
    servers: Servers
    stack: Stack
    settings: DevstackSettings

    @property
    def environment_path(self) -> Path:
        return self.directory / "env"


def installation(settings: DevstackSettings) -> Installation:
    """Return the installation of this checkout, running or not.

    At first use it creates the directory, the key and the webhook secrets.
    """
    directory = state_directory(CHECKOUT)
    servers = servers_for_use(directory, settings)
    key_file(directory)
    known = read_environment(directory / "env")
    names = ("TOWPATH_GITHUB_WEBHOOK_SECRET", "TOWPATH_GITEA_WEBHOOK_SECRET")
    hook_secrets = {name: known.get(name) or secrets.token_hex(24) for name in names}
    database_url, amqp_url = servers.postgres.url(DATABASE), servers.rabbit.url()
    extra = {
        **hook_secrets,
        **(
            kubernetes_environment(settings)
            if settings.backend == "kubernetes"
            else {"TOWPATH_BACKEND": "local", "TOWPATH_CLUSTER": "local"}
        ),
        "TOWPATH_ALLOW_LOCAL_CLONE_URLS": "true",
        "TOWPATH_LOCAL_HIDDEN": f"{servers.postgres.directory}:{servers.rabbit.directory}",
    }
    prefer_port(directory / "ports.json", "gateway", GATEWAY_PORT)
    stack = Stack(directory, database_url, amqp_url, extra, settings.port)
    return Installation(directory, servers, stack, settings)


def up(settings: DevstackSettings, say: Say) -> Installation:
    """Start everything, wait until it is ready, and write `.towpath/env`."""
    install_missing(say)
    ours = installation(settings)
    if settings.backend == "kubernetes":
        prepare_cluster(settings, say)
    _settle_backend(ours, say)
    with ThreadPoolExecutor(1) as beside:  # RabbitMQ takes the longest time
        rabbit = beside.submit(ours.servers.rabbit.start)
        _timed(say, "PostgreSQL", ours.servers.postgres.start)
        _timed(say, "the database's schema", lambda: _prepare(ours))
        fetch_assets(say)
        _timed(say, "RabbitMQ", rabbit.result)
    replicas = [(service, replica) for service in SERVICES for replica in range(1, settings.replicas + 1)]
    for service, replica in replicas:
        ours.stack.start(service, replica)
    _timed(say, f"services ({', '.join(SERVICES)})", lambda: _wait_for_all(ours, replicas))
    # The gateway may have chosen another port.
    _record(ours, read_environment(ours.environment_path).get("TOWPATH_TOKEN", ""))
    say(_table(ours))
    return ours


def _settle_backend(ours: Installation, say: Say) -> None:
    """Stop services that run with another backend, so that `up` starts them again."""
    kept = ours.directory / "backend"
    before = kept.read_text() if kept.exists() else "local"
    if before != ours.settings.backend and ours.stack.running():
        say(f"stopping the services, whose jobs run on the backend `{before}`")
        ours.stack.stop_all()
    kept.write_text(ours.settings.backend)


def down(settings: DevstackSettings, say: Say) -> None:
    """Stop everything, and check that no process is left. Jobs in a Kubernetes cluster continue."""
    ours = installation(settings.model_copy(update={"backend": "local"}))
    ours.stack.stop_all()
    ours.servers.stop()
    left = processes.of_stack(ours.directory)
    if left:
        say(f"ending {len(left)} processes that did not end with their service")
        processes.stop(left, grace_seconds=5)
    if processes.of_stack(ours.directory):
        raise DevstackError(
            "some processes do not end: "
            + ", ".join(str(process.pid) for process in processes.of_stack(ours.directory))
        )
    say(f"all stopped; data stays in {ours.directory}")


def status(settings: DevstackSettings, say: Say) -> bool:
    """Print what is running, and return True if that is everything."""
    ours = installation(settings.model_copy(update={"backend": "local"}))
    say(_table(ours))
    return (
        ours.servers.postgres.running()
        and ours.servers.rabbit.running()
        and set(SERVICES) <= set(ours.stack.running())
    )


def _wait_for_all(ours: Installation, replicas: list[tuple[str, int]]) -> None:
    for service, replica in replicas:
        ours.stack.wait_ready(service, replica, ours.settings.ready_seconds)


def _prepare(ours: Installation) -> None:
    """Create the database, migrate it, and create an administrator.

    Each of these happens once, so repeating it takes little time.
    """
    asyncio.run(create_database(ours.servers.postgres.url("postgres"), DATABASE))
    ours.stack.run_module("shared.database.migrate")
    token = read_environment(ours.environment_path).get("TOWPATH_TOKEN")
    if not token:
        token = _token_in(ours.stack.run_module("services.gateway.bootstrap"))
    _record(ours, token)


def _token_in(printed: str) -> str:
    for line in printed.splitlines():
        name, _, value = line.partition("=")
        if name == "TOWPATH_TOKEN":
            return value
    lost = (
        "there is an administrator already, but its token, which is shown only once, is not in .towpath/env"
    )
    raise DevstackError(
        f"{lost}. To begin anew: make down, then delete .towpath. The program printed: "
        f"{printed.strip() or 'nothing'}"
    )


def _record(ours: Installation, token: str) -> None:
    values = {
        "TOWPATH_URL": ours.stack.address(),
        "TOWPATH_TOKEN": token,
        "TOWPATH_GITHUB_WEBHOOK_SECRET": ours.stack.extra_env["TOWPATH_GITHUB_WEBHOOK_SECRET"],
        "TOWPATH_GITEA_WEBHOOK_SECRET": ours.stack.extra_env["TOWPATH_GITEA_WEBHOOK_SECRET"],
        "TOWPATH_DATABASE_URL": ours.stack.database_url,
        "TOWPATH_AMQP_URL": ours.stack.amqp_url,
    }
    write_environment(ours.environment_path, values)


def _timed(say: Say, what: str, action: Callable[[], object]) -> None:
    started_at = time.monotonic()
    action()
    say(f"{what}: ready after {time.monotonic() - started_at:.1f} s")


def _table(ours: Installation) -> str:
    running = ours.stack.running()
    rows = [
        (name, ours.stack.address(*_service_and_replica(name)), f".towpath/logs/{name}.log")
        for name in running
    ]
    rows += [(service, "not running", "") for service in SERVICES if service not in running]
    for title, server in (("PostgreSQL", ours.servers.postgres), ("RabbitMQ", ours.servers.rabbit)):
        rows.append((title, f"127.0.0.1:{server.port}" if server.running() else "not running", ""))
    return "\n".join(f"  {name:<12} {address:<26} {log}".rstrip() for name, address, log in rows)


def _service_and_replica(name: str) -> tuple[str, int]:
    service, _, number = name.partition("-")
    return service, int(number or 1)
