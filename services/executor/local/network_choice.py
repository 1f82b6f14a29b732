"""Decides whether the jobs of an executor get a network of their own, and prepares what they need for it."""

from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from services.executor.local import network
from services.executor.local.fork_server import ForkServer
from services.executor.local.order import NetworkOrder
from services.executor.local.pod_files import write_whole
from services.executor.local.sandbox import SYSTEM, Sandbox, SandboxUnusable

SHARED_NETWORK = (
    "The job shares the network of its machine. It can connect to all that listens there, to Towpath's own "
    "servers too."
)
_log = structlog.get_logger()


_TRIES = 5
_VANISHED_MOUNT = "Unable to apply mount flags"
"""Part of bubblewrap's message if a mount was removed during its start, such as a volume of a pod."""


@dataclass(frozen=True, slots=True)
class NetworkWish:
    choice: network.Choice = "auto"
    program: str = network.PROGRAM


@dataclass(frozen=True, slots=True)
class Isolation:
    """The sandbox of jobs, and whether they have a network of their own."""

    sandbox: Sandbox
    own_network: bool = False
    warnings: tuple[str, ...] = ()
    """Warnings for each run."""


async def isolate(wish: NetworkWish, sandbox: Sandbox, server: ForkServer, folder: Path) -> Isolation:
    """Return the isolation of jobs, with a network of their own if that is wanted and works.

    Raises SandboxUnusable if they must have a network of their own but can't; Transient.
    """
    if wish.choice == "shared":
        return Isolation(sandbox)
    resolver, complaint = _resolver(sandbox, folder)
    if not complaint:
        order = NetworkOrder(wish.program, (*SYSTEM, "--") if sandbox.bubblewrap else ())
        complaint = await _prepared(server, order)
    if not complaint:
        return Isolation(replace(sandbox, resolv_conf=resolver), own_network=True)
    if wish.choice == "own":
        raise SandboxUnusable(f"jobs can't have a network of their own: {complaint}")
    _log.warning(
        "jobs_share_the_network", why=complaint, consequence="jobs can connect to the servers of the services"
    )
    return Isolation(sandbox, warnings=(SHARED_NETWORK,))


async def _prepared(server: ForkServer, order: NetworkOrder) -> str:
    """Ask for the network, again if a mount of the machine vanished while bubblewrap copied the mounts."""
    for _ in range(_TRIES):
        complaint = await server.prepare_network(order)
        if _VANISHED_MOUNT not in complaint:
            break
    return complaint


def _resolver(sandbox: Sandbox, folder: Path) -> tuple[tuple[Path, Path] | None, str]:
    """Return (file, path) of a resolv.conf that jobs need, and an empty text or why they can't have it.

    The pair is None if jobs need no resolv.conf of ours or can't have one.
    """
    machine = network.machines_resolv_conf()
    if not network.name_servers_are_local(machine):
        return None, ""
    place = network.resolv_conf_place()
    if not sandbox.bubblewrap or not place.is_file():
        return (
            None,
            (
                "name servers of the machine listen on its loopback, and without bubblewrap jobs can't have "
                "others"
            ),
        )
    file = folder / "resolv.conf"
    write_whole(file, network.resolv_conf(machine))
    file.chmod(0o644)
    return (file, place), ""
