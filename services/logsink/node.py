"""Streams of one node: finds the logs on this node and takes their streams for its agent.

A pod's directory appears after its claim was committed, so the agent may open the attempt's streams itself.
It takes over streams that others have opened or that an earlier agent left. It does both when a directory
appears, and again after each `check_seconds`.
"""

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path

import structlog

from services.logsink.locations import PodName, of_directory
from services.logsink.pod_watch import PodWatch
from services.logsink.sink import Sink
from services.logsink.store import LogStore, Reach
from services.logsink.wakeups import Wakeups
from shared.errors import Transient

_log = structlog.get_logger()


class Node:
    """The pods of one namespace that have a directory on this node, or that the API lists for it."""

    def __init__(self, root: Path, namespace: str, watch: PodWatch, wakeups: Wakeups) -> None:
        """`root` is the kubelet's `/var/log/pods`."""
        self._root = root
        self._namespace = namespace
        self._watch = watch
        self._wakeups = wakeups

    def reach(self) -> Reach:
        pods = {PodName(self._namespace, name, state.uid) for name, state in self._watch.all().items()}
        with contextlib.suppress(FileNotFoundError):
            pods |= {
                pod
                for path in self._root.iterdir()
                if (pod := of_directory(path.name)) and pod.namespace == self._namespace
            }
        return Reach(locations=tuple(sorted(pod.node_location for pod in pods)))

    def listen(self, changed: asyncio.Event) -> bool:
        """Sets the event `changed` when a directory appears. Returns False if that cannot be watched."""
        return self._wakeups.watch(self._root, changed)

    def taking(self, sink: Sink, store: LogStore, cluster: str, *, check_seconds: float) -> "Taking":
        return Taking(self, sink, store, cluster, check_seconds)


@dataclass(frozen=True, slots=True)
class Taking:
    """The task that takes this node's streams for the agent's followers."""

    node: Node
    sink: Sink
    store: LogStore
    cluster: str
    check_seconds: float

    async def run(self) -> None:
        changed = asyncio.Event()
        is_watched = False
        while True:
            is_watched = is_watched or self.node.listen(changed)
            try:
                await self.check()
            except Transient as error:
                _log.info("streams_wait", why=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.check_seconds):
                    await changed.wait()
            changed.clear()

    async def check(self) -> int:
        """Opens and takes over streams; returns how many. Raises Transient."""
        locations = self.node.reach().locations
        if not locations:
            return 0
        async with self.store.reading() as work:
            attempt_ids = await work.attempts_at(self.cluster, locations)
        return await self.sink.open(attempt_ids) + await self.sink.take_over()
