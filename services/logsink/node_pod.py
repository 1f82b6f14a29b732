"""Pod on the node agent's node: the kubelet's log files, and the pod status that shows when a log has ended.

The kubelet reports the end of a container after the runtime has written its last line. It keeps the files as
long as the pod exists.
"""

import asyncio
import os
from pathlib import Path

from services.logsink.clusters import KubernetesCluster
from services.logsink.locations import PodName
from services.logsink.pod_state import Where
from services.logsink.pod_watch import WatchedPod
from services.logsink.sources import End
from services.logsink.sources.log_files import LogFiles, RestartedLogFiles


class NodePod:
    """Log files and pod status for one container; see `services.logsink.sources.cri_files.PodFiles`."""

    def __init__(self, root: Path, cluster: KubernetesCluster, pod: PodName, container: str) -> None:
        """`root` is the kubelet's `/var/log/pods`."""
        self._cluster = cluster
        self._name = pod
        self._pod: WatchedPod | None = None
        self._watching: asyncio.Task[None] | None = None
        self._over: tuple[str | None] | None = None
        self._directory = root / pod.directory / container

    @property
    def watched(self) -> tuple[Path, ...]:
        return (self._directory.parent, self._directory)

    def files(self, container: str) -> LogFiles:
        return RestartedLogFiles(self._directory.with_name(container))

    def says_ended(self, container: str) -> bool:
        where = self._where(container)
        return where is Where.NEVER or (where is Where.ENDED and self._has_files())

    def known_end(self, container: str) -> End | None:
        if self._watching and self._watching.done():
            self._watching.result()  # raises the error if a bug has ended the task
        if self.says_ended(container):
            return End(ended_step=self._ended_step(container))
        if self._where(container) is Where.ENDED:
            return End("the log files are gone")
        return End("the pod is gone") if self._pod and self._pod.is_gone else None

    def start(self, changed: asyncio.Event) -> None:
        if self._pod is None:
            self._pod = self._cluster.watched(self._name, changed)
            self._watching = asyncio.create_task(self._pod.run(), name=f"pod {self._name.name}")
            if self._over:
                self._pod.attempt_over(*self._over)

    def attempt_over(self, reason: str | None) -> None:
        self._over = (reason,)
        if self._pod:
            self._pod.attempt_over(reason)

    async def close(self) -> None:
        if self._watching:
            self._watching.cancel()
            await asyncio.wait([self._watching])

    def _where(self, container: str) -> Where | None:
        if self._pod is None or self._pod.state is None:
            return None
        return self._pod.state.where(container, attempt_is_over=self._pod.attempt_is_over)

    def _ended_step(self, container: str) -> int | None:
        if self._pod is None or self._pod.state is None:
            return None
        there = self._pod.state.containers.get(container)
        return there.ended_step if there else None

    def _has_files(self) -> bool:
        return os.path.isdir(self._directory)  # noqa: PTH112 - called for every log; a Path is slow
