"""Reconciler check that seals logs which must be read on a node, but which no agent will read.

A log is sealed if the cluster shows that it is empty, or that its pod or node is gone. A log that nobody has
read for a while is only checked, not sealed, until its attempt has been over for `silence_seconds`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from services.logsink.clusters import KubernetesCluster
from services.logsink.locations import PodName, parse
from services.logsink.pod_state import PodState, Where
from services.logsink.pod_watch import WatchedPod
from services.logsink.sources import End
from services.logsink.store import LogStore, Unattended
from shared.errors import Transient
from shared.kubernetes.client import ApiError
from shared.tracing import fields

_log = structlog.get_logger()

_AT_ONCE = 100
UNATTENDED_SECONDS = 10.0
"""An agent takes its streams within a second or two, so an earlier check would be useless."""


class UnattendedStreams:
    """The check for unattended streams.

    Safe in several replicas: a stream is sealed by the replica that becomes its owner.
    """

    def __init__(
        self,
        store: LogStore,
        clusters: Mapping[str, KubernetesCluster],
        seal: Callable[[int, End], Awaitable[int]],
        *,
        silence_seconds: float,
    ) -> None:
        """`seal` takes over a stream that nobody owns, and ends it."""
        self._store = store
        self._clusters = clusters
        self._seal = seal
        self._silence_seconds = silence_seconds

    async def check(self, unattended_seconds: float = UNATTENDED_SECONDS) -> int:
        """Seals the streams that have an end; returns how many. Raises Transient."""
        async with self._store.reading() as work:
            streams = await work.unattended_streams(
                list(self._clusters), unattended_seconds, self._silence_seconds, _AT_ONCE
            )
        sealed = 0
        for stream in streams:
            try:
                end = await self._end_of(stream)
            except (ApiError, Transient) as error:
                trace = fields(stream.traceparent)
                _log.info("unattended_stream_waits", stream_id=stream.id, why=str(error), **trace)
                end = _after_silence(stream)
            if end is not None:
                sealed += await self._seal(stream.id, end)
        return sealed

    async def _end_of(self, stream: Unattended) -> End | None:
        cluster, pod = self._clusters[stream.cluster], parse(stream.location)
        if not isinstance(pod, PodName):
            return None
        seen = cluster.watch(pod.namespace).seen(pod.name)
        if seen is not None and seen.uid == pod.uid and not _may_end(seen, stream):
            return _after_silence(stream)
        watched = cluster.watched(pod, asyncio.Event())
        if stream.is_over:
            watched.attempt_over(stream.reason)
        await watched.check()
        return known_end(watched, stream) or _after_silence(stream)


def known_end(pod: WatchedPod, stream: Unattended) -> End | None:
    """Returns the end of a log that no agent will ever read, or None if an agent may still read it."""
    if pod.is_gone or pod.state is None:
        return End("the pod is gone, and its node's agent has not read the log to its end")
    if pod.state.where(stream.container, attempt_is_over=pod.attempt_is_over) is Where.NEVER:
        return End()
    return End("the node is lost") if pod.node_is_lost else None


def _may_end(seen: PodState, stream: Unattended) -> bool:
    """Returns True if a new read of the pod may show that the log has ended."""
    where = seen.where(stream.container, attempt_is_over=stream.is_over)
    return where is Where.NEVER or seen.node_is_lost or stream.reason == "node_lost"


def _after_silence(stream: Unattended) -> End | None:
    return End("no agent on its node has read it") if stream.is_long_over else None
