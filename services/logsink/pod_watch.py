"""One list and watch of a namespace's pods for all logs that are read there.

It wakes whoever waits for a pod, and knows what was last seen of each.

Nothing is polled: the watch ends by itself after a while, and is begun again with a list, so that what it may
have missed is found. One that stalls is cut.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator

import orjson
import structlog

from services.logsink.locations import PodName
from services.logsink.pod_state import PodState, pod_state
from shared.errors import Transient
from shared.kubernetes import ApiError, KubernetesApi, Object
from shared.patience import backoff

_log = structlog.get_logger()

OURS = "app.kubernetes.io/managed-by=towpath"
_PAGE = 500
_STALL_SECONDS = 10
"""A watch that has not ended so long after it should have is dead."""


class PodWatch:
    """Towpath's pods in one namespace, or those of them on one node."""

    def __init__(self, api: KubernetesApi, namespace: str, *, node: str | None, seconds: float) -> None:
        """`seconds`: how long a watch lasts until the pods are listed again."""
        self._api = api
        self._path = f"/api/v1/namespaces/{namespace}/pods"
        self._selectors = {"labelSelector": OURS, "fieldSelector": f"spec.nodeName={node}" if node else None}
        self._seconds = seconds
        self._states: dict[str, PodState] = {}
        self._bells: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self.has_listed = False

    def follow(self, name: str, bell: asyncio.Event) -> None:
        """Ring this bell when something is seen of the pod of this name, and whenever all were listed or
        could not be.
        """
        self._bells[name].add(bell)

    def forget(self, name: str, bell: asyncio.Event) -> None:
        self._bells[name].discard(bell)
        if not self._bells[name]:
            del self._bells[name]

    def seen(self, name: str) -> PodState | None:
        """What was last seen of the pod of this name. None says nothing: it may lack the label."""
        return self._states.get(name)

    def all(self) -> dict[str, PodState]:
        """By name."""
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
        """The version from which to watch."""
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
        """Returns when the watch has ended, or the server says that it must be begun anew (410 and whatever
        else comes as an ERROR event).
        """
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
        await asyncio.sleep(
            max(0.0, began + 1 - asyncio.get_running_loop().time())
        )  # no storm where watches end at once

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
    for bell in bells:
        bell.set()


async def _documents(chunks: AsyncIterator[bytes]) -> AsyncIterator[Object]:
    """The JSON documents of a stream with one on each line."""
    rest = b""
    async for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line:
                yield orjson.loads(line)


class WatchedPod:
    """What is known of one pod, for one log. `bell` rings when there is news."""

    def __init__(self, api: KubernetesApi, watch: PodWatch, pod: PodName, bell: asyncio.Event) -> None:
        self._api = api
        self._watch = watch
        self.pod = pod
        self._bell = bell
        self._woken = asyncio.Event()
        self._is_old = False  # the state is from before the attempt was over
        self.state: PodState | None = None
        self.is_gone = False
        """On evidence: the API says three times that there is none, or that its name is another's."""
        self.over_because: str | None = None
        """Why the attempt ended, once it has its verdict; empty where there is no reason."""
        self.failure: str | None = None
        """Why the API did not answer when it was asked last."""

    @property
    def path(self) -> str:
        return f"/api/v1/namespaces/{self.pod.namespace}/pods/{self.pod.name}"

    @property
    def attempt_is_over(self) -> bool:
        """Whether that was known before `state` was asked for."""
        return self.over_because is not None and not self._is_old

    @property
    def node_is_lost(self) -> bool:
        """Whether the executor has judged so, or the cluster deletes the pod for it."""
        return self.over_because is not None and (
            self.over_because == "node_lost" or (self.state is not None and self.state.node_is_lost)
        )

    def attempt_over(self, reason: str | None) -> None:
        """The attempt has its verdict. Safe to repeat."""
        if self.over_because is None:
            self.over_because, self._is_old = reason or "", True
            self._woken.set()

    async def look(self) -> None:
        """Ask the API. Raises ApiError and Transient."""
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
        self._bell.set()

    async def run(self) -> None:
        """Keeps `state` up to date until it is cancelled."""
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
                    self._bell.set()
                    await asyncio.sleep(backoff(failures, most=30))
                    self._woken.set()
        finally:
            self._watch.forget(self.pod.name, self._woken)

    async def _update(self) -> None:
        seen = self._watch.seen(self.pod.name)
        if seen is not None and seen.uid == self.pod.uid:
            self._take(seen)
        else:
            await self.look()
        if self._is_old:
            await self.look()

    def _take(self, state: PodState) -> None:
        if self.state is None or state.version >= self.state.version:
            self.state = state
            self._bell.set()
