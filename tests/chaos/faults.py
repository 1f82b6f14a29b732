"""All kinds of faults: how each breaks a part and restores it.

A fault is a context manager: the part is broken on entry and works again after exit. The world's seed alone
decides what a fault does.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from devstack import processes
from devstack.stack import SERVICES
from tests.chaos import broker_faults, cluster, cluster_faults, database_faults
from tests.chaos.cluster import Replica
from tests.chaos.points import points_of
from tests.chaos.proxy import Mode, Proxy
from tests.chaos.world import REPLICAS, World

SKEW = Path(__file__).with_name("skew")
HOUR_SECONDS = 3600
AWAY_SECONDS = 20
"""The length of the test's long outages. It stands for an outage of ten minutes."""

Break = Callable[[World], AbstractAsyncContextManager[None]]


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault, and the range of seconds for which a part stays broken."""

    kind: str
    broken: Break
    seconds: tuple[float, float]


def every_fault() -> list[Fault]:
    """Return all kinds of faults."""
    return [*_services(), *_servers(), *_full_disk(), *_network(), *_messages(), *_kubernetes()]


def possible(world: World) -> tuple[list[Fault], list[str]]:
    """Return the kinds that can be tried here, and one line with the reason for each kind that cannot.

    Kinds for Kubernetes are left out without a line if the jobs are not pods.
    """
    impossible = [] if world.disk else [fault.kind for fault in _full_disk()]
    elsewhere = [] if world.cluster else [fault.kind for fault in _kubernetes()]
    faults = [fault for fault in every_fault() if fault.kind not in {*impossible, *elsewhere}]
    return faults, [f"{kind}: mounting a disk takes root" for kind in impossible]


def _services() -> Iterator[Fault]:
    for service in SERVICES:
        yield Fault(f"{service} killed", partial(_killed, service), (0.2, 3))
        yield Fault(f"{service} paused", partial(_paused, service), (2, 8))
        yield Fault(f"{service} stopped", partial(_stopped, service), (0.2, 2))
        yield Fault(f"{service} dies at a crash point", partial(_dead_at_a_point, service), (1, 6))
        yield Fault(f"{service} with a wrong clock", partial(_wrong_clock, service), (3, 8))


def _servers() -> Iterator[Fault]:
    yield Fault("postgres killed", database_faults.killed, (0.2, 2))
    yield Fault("postgres restarted", database_faults.restarted, (0.2, 3))
    yield Fault("postgres away", database_faults.restarted, (AWAY_SECONDS, AWAY_SECONDS))
    yield Fault("postgres paused", database_faults.paused, (2, 8))
    yield Fault("postgres backends terminated", database_faults.backends_terminated, (0, 0))
    yield Fault("postgres tables locked", database_faults.locked, (1, 4))
    yield Fault("postgres out of connections", database_faults.out_of_connections, (2, 5))
    yield Fault("postgres refuses writes", database_faults.disk_full, (1, 4))
    yield Fault("postgres deadlocks", database_faults.deadlocks, (2, 5))
    yield Fault("broker killed", broker_faults.killed, (0.2, 2))
    yield Fault("broker restarted", broker_faults.restarted, (0.2, 3))
    yield Fault("broker away", broker_faults.restarted, (AWAY_SECONDS, AWAY_SECONDS))
    yield Fault("broker paused", broker_faults.paused, (2, 8))
    yield Fault("broker alarmed", broker_faults.alarmed, (2, 5))


def _full_disk() -> Iterator[Fault]:
    yield Fault("postgres disk full", database_faults.file_system_full, (1, 4))
    yield Fault("postgres disk full to the last log file", database_faults.log_full, (1, 3))


_BAD_NETWORKS = {
    Mode.REFUSE: ("cut", (0.5, 4.0)),
    Mode.HOLD: ("half-open", (2.0, 10.0)),
    Mode.DELAY: ("slow", (2.0, 6.0)),
    Mode.TRUNCATE: ("truncated", (0.2, 2.0)),
    Mode.DEAF: ("without answers", (0.5, 4.0)),
}


def _network() -> Iterator[Fault]:
    """Yield the faults of the network between a service and a server."""
    for mode, (word, seconds) in _BAD_NETWORKS.items():
        yield Fault(f"network to postgres {word}", partial(_network_to_postgres, mode), seconds)
        yield Fault(f"network to broker {word}", partial(_network_to_broker, mode), seconds)


def _kubernetes() -> Iterator[Fault]:
    """Yield the faults of the network between a service and the cluster's API server, and of the pods."""
    for mode, (word, seconds) in _BAD_NETWORKS.items():
        yield Fault(f"network to cluster {word}", partial(_network_to_cluster, mode), seconds)
    yield Fault("pod deleted by hand", cluster_faults.pod_deleted, (0, 0))
    yield Fault("second pod for a running job", cluster_faults.pod_doubled, (0, 0))


def _messages() -> Iterator[Fault]:
    yield Fault("queues purged", broker_faults.queues_purged, (0, 0))
    yield Fault("queues deleted", broker_faults.queues_deleted, (0, 0))
    yield Fault("bindings deleted", broker_faults.bindings_deleted, (0, 0))
    yield Fault("exchange deleted", broker_faults.exchange_deleted, (0, 0))
    yield Fault("messages dropped", broker_faults.messages_dropped, (2, 4))
    yield Fault("messages doubled and reordered", broker_faults.messages_doubled, (0, 0))
    yield Fault("messages poisoned", broker_faults.messages_poisoned, (0, 0))


# ---------------------------------------------------------------- services


@asynccontextmanager
async def _killed(service: str, world: World) -> AsyncIterator[None]:
    with world.held(service) as replica:
        await world.kill(replica)
        yield
        await _anew(world, replica)


@asynccontextmanager
async def _paused(service: str, world: World) -> AsyncIterator[None]:
    with world.held(service) as replica:
        world.stack.pause(*replica)
        yield
        world.stack.resume(*replica)


@asynccontextmanager
async def _stopped(service: str, world: World) -> AsyncIterator[None]:
    """Stop the replica by SIGTERM. It has to exit with status 0 within its grace period."""
    with world.held(service) as replica:
        process = world.stack.process(*replica)
        child = None if process is None else processes._children.get(process.pid)
        await asyncio.to_thread(world.stack.stop, *replica)
        if child is not None and child.returncode != 0:
            world.violations.append(f"{service} ended {child.returncode} after SIGTERM")
        yield
        await _anew(world, replica)


@asynccontextmanager
async def _dead_at_a_point(service: str, world: World) -> AsyncIterator[None]:
    """Start the replica with a crash point armed. It may or may not reach that point."""
    with world.held(service) as replica:
        armed = f"{world.chance.choice(points_of(service)).name}:{world.chance.randint(1, 3)}"
        await world.kill(replica)
        await world.start(replica, TOWPATH_CRASHPOINT=armed)
        yield
        await world.kill(replica)
        await _anew(world, replica)


@asynccontextmanager
async def _wrong_clock(service: str, world: World) -> AsyncIterator[None]:
    with world.held(service) as replica:
        seconds = world.chance.choice([-HOUR_SECONDS, HOUR_SECONDS])
        await world.kill(replica)
        await world.start(replica, PYTHONPATH=str(SKEW), TOWPATH_TEST_CLOCK_SECONDS=str(seconds))
        yield
        await world.kill(replica)
        await _anew(world, replica)


async def _anew(world: World, replica: Replica) -> None:
    await world.start(replica)
    await world.ready(replica)


# ---------------------------------------------------------------- the network


def _network_to_postgres(mode: Mode, world: World) -> AbstractAsyncContextManager[None]:
    return _bad_network(mode, world, [world.database_proxies[replica] for replica in _one_or_both(world)])


def _network_to_broker(mode: Mode, world: World) -> AbstractAsyncContextManager[None]:
    return _bad_network(mode, world, [world.broker_proxies[replica] for replica in _one_or_both(world)])


def _network_to_cluster(mode: Mode, world: World) -> AbstractAsyncContextManager[None]:
    assert world.cluster is not None
    service = world.chance.choice(cluster.SERVICES)
    return _bad_network(
        mode, world, [world.cluster.proxies[replica] for replica in _one_or_both(world, service)]
    )


@asynccontextmanager
async def _bad_network(mode: Mode, world: World, proxies: list[Proxy]) -> AsyncIterator[None]:
    delay_seconds = world.chance.uniform(0.02, 0.5)
    for proxy in proxies:
        proxy.become(mode, delay_seconds=delay_seconds)
    yield
    for proxy in proxies:
        proxy.become(Mode.PASS)


def _one_or_both(world: World, service: str | None = None) -> list[tuple[str, int]]:
    """Return one replica of a service, or all of them."""
    service, replica = world.some_replica(service)
    return [(service, replica)] if world.chance.random() < 0.5 else [(service, number) for number in REPLICAS]
