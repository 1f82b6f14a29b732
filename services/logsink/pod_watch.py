"""Pod informer: one list and watch of a namespace's pods for all logs that are read there.

It keeps the last state of each pod and sets the events of those who wait for it. There is no polling: the
watch ends by itself after a while, and the next one begins with a list, which finds changes that the watch
may have missed. A watch that stalls is cut.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator

import orjson
import structlog

from services.logsink.locations import PodName
from services.logsink.pod_state import PodState, pod_state
from shared.backoff import backoff
from shared.errors import Transient
from shared.kubernetes.client import ApiError, KubernetesApi, Object

_log = structlog.get_logger()

OURS = "app.kubernetes.io/managed-by=towpath"
_PAGE = 500
_STALL_SECONDS = 10
"""A watch that has not ended this long after its time is considered dead."""


class PodWatch:
    """The state of Towpath's pods in one namespace, or of those on one node."""

    def __init__(self, api: KubernetesApi, namespace: str, *, node: str | None, seconds: float) -> None:
        """`seconds` is the length of a watch, after which the pods are listed again."""
        self._api = api
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._selectors = {"labelSelector": OURS, "fieldSelector": f"spec.nodeName={node}" if node else None}
        self._seconds = seconds
        self._states: dict[str, PodState] = {}
        self._bells: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self.has_listed = False

    def follow(self, name: str, changed: asyncio.Event) -> None:
        """Sets the event `changed` when this pod changes, and when the pods are listed or cannot be read."""
        self._bells[name].add(changed)

    def forget(self, name: str, changed: asyncio.Event) -> None:
        self._bells[name].discard(changed)
        if not self._bells[name]:
            del self._bells[name]

    def seen(self, name: str) -> PodState | None:
        """Returns the last state of the pod of this name.

        None does not prove that the pod is gone, because it may lack the label.
        """
        return self._states.get(name)

    def all(self) -> dict[str, PodState]:
        """Returns the last state of each pod by name."""
        return self._states

    async def run(self) -> None:
        failures = 0
        while True:
            try:
                await self._watch(await self._list())
                failures = 0
            except (Transient, ApiError) as error:
                failures += 1
                _log.warning("pod_watch_waits", path=self._path, failures=failures, why=str(error))
                self._ring_all()
                await asyncio.sleep(backoff(failures, most=30))
            except Exception:  # noqa: BLE001 - the task's last handler: no log begins without the watch
                failures += 1
                _log.exception("pod_watch_failed", path=self._path)
                await asyncio.sleep(backoff(failures, first=1, most=30))

    async def _list(self) -> str:
        """Lists all pods; returns the resource version from which to watch."""
        states: dict[str, PodState] = {}
        onward: str | None = None
        while True:
            page = await self._api.get(
                self._path, limit=_PAGE, **self._selectors, **({"continue": onward} if onward else {})
            )
            states |= {pod["metadata"]["name"]: pod_state(pod) for pod in page["items"]}
            onward = page["metadata"].get("continue")
            if not onward:
                break
        self._states, self.has_listed = states, True
        self._ring_all()
        return str(page["metadata"]["resourceVersion"])

    async def _watch(self, version: str) -> None:
        """Watches until the watch ends, or an ERROR event (410 or another) requires a new list."""
        query = {
            "watch": True,
            "resourceVersion": version,
            "timeoutSeconds": int(self._seconds),
            "allowWatchBookmarks": True,
            **self._selectors,
        }
        began = asyncio.get_running_loop().time()
        async with self._api.stream(
            self._path, idle_seconds=self._seconds + _STALL_SECONDS, **query
        ) as chunks:
            async for event in _documents(chunks):
                if event["type"] == "ERROR":
                    _log.info("pod_watch_begins_anew", path=self._path, why=event["object"].get("message"))
                    break
                if event["type"] != "BOOKMARK":
                    self._take(event["type"], event["object"])
        # limits the rate of requests if watches end at once
        await asyncio.sleep(max(0.0, began + 1 - asyncio.get_running_loop().time()))

    def _ring_all(self) -> None:
        for bells in self._bells.values():
            _ring(bells)

    def _take(self, kind: str, pod: Object) -> None:
        name = pod["metadata"]["name"]
        if kind == "DELETED":
            self._states.pop(name, None)
        else:
            self._states[name] = pod_state(pod)
        _ring(self._bells.get(name, set()))


def _ring(bells: set[asyncio.Event]) -> None:
    for changed in bells:
        changed.set()


async def _documents(chunks: AsyncIterator[bytes]) -> AsyncIterator[Object]:
    """Yields the JSON documents of a stream that has one on each line."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield orjson.loads(line)


class WatchedPod:
    """The state of one pod, for one log. The event `changed` is set when something changes."""

    def __init__(self, api: KubernetesApi, watch: PodWatch, pod: PodName, changed: asyncio.Event) -> None:
        self._api = api
        self._watch = watch
        self.pod = pod
        self._changed = changed
        self._woken = asyncio.Event()
        self._is_old = False  # `state` was read before the attempt was over
        self.state: PodState | None = None
        self.is_gone = False
        """True if the API has answered three times that there is no such pod, or if another has its name."""
        self.over_because: str | None = None
        """Reason of the attempt's verdict, or empty if the verdict has none. None before the verdict."""
        self.failure: str | None = None
        """Error of the last request to the API, or None."""

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.pod.namespace}/pods/{self.pod.name}"

    @property
    def attempt_is_over(self) -> bool:
        """Returns True if the verdict was known before `state` was requested."""
        return self.over_because is not None and not self._is_old

    @property
    def node_is_lost(self) -> bool:
        """Returns True if the attempt is over and its node is lost, by its verdict or by the pod status."""
        return self.over_because is not None and (
            self.over_because == "node_lost" or (self.state is not None and self.state.node_is_lost)
        )

    def attempt_over(self, reason: str | None) -> None:
        """Notes that the attempt has its verdict. Safe to repeat."""
        if self.over_because is None:
            self.over_because, self._is_old = reason or "", True
            self._woken.set()

    async def check(self) -> None:
        """Reads the pod from the API. Raises ApiError and Transient."""
        for pause in (0.2, 0.5, 0.0):
            was_over = self.over_because is not None
            try:
                state = pod_state(await self._api.get(self.path))
            except ApiError as error:
                if error.status != 404:
                    raise
                await asyncio.sleep(pause)
                continue
            if state.uid == self.pod.uid:
                self._is_old = self._is_old and not was_over
                self._take(state)
                return
            break
        self.is_gone = True
        self._changed.set()

    async def run(self) -> None:
        """Keeps `state` up to date until it is cancelled or the pod is gone."""
        self._watch.follow(self.pod.name, self._woken)
        if self._watch.has_listed:
            self._woken.set()
        failures = 0
        try:
            while not self.is_gone:
                await self._woken.wait()
                self._woken.clear()
                try:
                    await self._update()
                    failures, self.failure = 0, None
                except (Transient, ApiError) as error:
                    failures, self.failure = failures + 1, str(error)
                    self._changed.set()
                    await asyncio.sleep(backoff(failures, most=30))
                    self._woken.set()
        finally:
            self._watch.forget(self.pod.name, self._woken)

    async def _update(self) -> None:
        seen = self._watch.seen(self.pod.name)
        if seen is not None and seen.uid == self.pod.uid:
            self._take(seen)
        else:
            await self.check()
        if self._is_old:
            await self.check()

    def _take(self, state: PodState) -> None:
        if self.state is None or state.version >= self.state.version:
            self.state = state
            self._changed.set()
