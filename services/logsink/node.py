"""Which logs are on this node, and how their streams come to its agent.

A pod's directory appears after its claim is committed, so the agent that sees it appear may open the
attempt's streams itself; what others have opened, or an agent left behind, it takes over. Both happen at once
when a directory appears, and again every second or so.
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
    """The pods of one namespace on this node: those that have a directory here, and those that the API says
    are here.
    """

    def __init__(self, root: Path, namespace: str, watch: PodWatch, wakeups: Wakeups) -> None:
        """`root`: the kubelet's `/var/log/pods`."""
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

    def listen(self, bell: asyncio.Event) -> bool:
        """Ring this bell when a directory appears. False when that can't be watched."""
        return self._wakeups.watch(self._root, bell)

    def taking(self, sink: Sink, store: LogStore, cluster: str, *, look_seconds: float) -> "Taking":
        return Taking(self, sink, store, cluster, look_seconds)


@dataclass(frozen=True, slots=True)
class Taking:
    """Takes this node's streams for the agent's followers."""

    node: Node
    sink: Sink
    store: LogStore
    cluster: str
    look_seconds: float

    async def run(self) -> None:
        bell = asyncio.Event()
        is_watched = False
        while True:
            is_watched = is_watched or self.node.listen(bell)
            try:
                await self.look()
            except Transient as error:
                _log.info("streams_wait", why=str(error))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.look_seconds):
                    await bell.wait()
            bell.clear()

    async def look(self) -> int:
        """How many streams were taken. Raises Transient."""
        locations = self.node.reach().locations
        if not locations:
            return 0
        async with self.store.reading() as work:
            attempt_ids = await work.attempts_at(self.cluster, locations)
        return await self.sink.open(attempt_ids) + await self.sink.take_over()
