"""A fake of the Kubernetes API server and its kubelet, as far as the log sink uses them.

Pods can be listed, watched and read, and logs can be followed over HTTP. Logs are read as a kubelet reads
them: only the newest file, only lines since a given time, with a time before each line, and with the parts of
a long line joined.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import yaml
from aiohttp import web

from services.logsink.pod_watch import OURS

PART_BYTES = 16_384
NODE = "node-1"


def stamp_now() -> bytes:
    """Return the current time in RFC 3339 with nine digits of fraction."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return (
        datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.").encode() + b"%09dZ" % nanoseconds
    )


class FakeContainer:
    """A container: its state, and the records of its log."""

    def __init__(self, pod: "FakeKubernetesPod") -> None:
        self._pod = pod
        self.state: dict[str, Any] = {"waiting": {"reason": "ContainerCreating"}}
        self.last_state: dict[str, Any] = {}
        self.restarts = 0
        self.records: list[tuple[bytes, bytes]] = []  # (time, bytes); part of a line if there is no line feed
        self.previous: list[tuple[bytes, bytes]] = []
        self.newest_file = 0  # index of its first record
        self.skips = 0  # number of rotations that followers missed
        self._unended = b""
        self.changed = asyncio.Condition()

    async def start(self) -> None:
        if self.state.get("terminated"):
            self.last_state, self.restarts = self.state, self.restarts + 1
            self.previous, self.records, self.newest_file = self.records, [], 0
        self.state = {
            "running": {"startedAt": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")}
        }
        await self._pod.report()

    async def prints(self, text: bytes) -> None:
        *lines, self._unended = (self._unended + text).split(b"\n")
        for line in lines:
            parts = [line[at : at + PART_BYTES] for at in range(0, len(line), PART_BYTES)] or [b""]
            self.records += [(stamp_now(), part) for part in parts[:-1]]
            self.records.append((stamp_now(), parts[-1] + b"\n"))
        await self.wake()

    async def rotate(self, *, missed: bool = False) -> None:
        """Start a new log file.

        If `missed`, followers continue with the newest file at once and lose what they have not read.
        """
        self.newest_file = len(self.records)
        self.skips += missed
        await self.wake()

    async def end(self, message: str = "", *, reported: bool = True) -> None:
        """End the container. `message` is its termination message."""
        if self._unended:
            self.records.append((stamp_now(), self._unended))
            self._unended = b""
        self.state = {
            "terminated": {
                "exitCode": 0,
                "containerID": "containerd://c",
                "message": message,
                **self.state.get("running", {}),
            }
        }
        await self.wake()
        if reported:
            await self._pod.report()

    async def wake(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def log(self, since: bytes, *, follow: bool, previous: bool) -> AsyncIterator[bytes]:
        records = self.previous if previous else self.records
        at = 0 if previous else self.newest_file
        skips, is_new_line, sent_first = self.skips, True, False
        while True:
            if self.skips > skips and sent_first:
                skips, at = self.skips, max(at, self.newest_file)
            for stamp, content in itertools.islice(records, at, at + 1000):
                at += 1
                if stamp >= since:
                    yield (stamp + b" " if is_new_line else b"") + content
                    sent_first = True
                is_new_line = content.endswith(b"\n")
            if at < len(records):
                continue
            if not follow or "running" not in self.state:
                return
            async with self.changed:
                await self.changed.wait_for(
                    lambda: at < len(records) or "running" not in self.state  # noqa: B023 - used at once
                )


class FakeKubernetesPod:
    """A pod. Lists, watches and GETs show its changes only after `report()`."""

    def __init__(self, cluster: "FakeKubernetes", name: str, uid: str, containers: tuple[str, ...]) -> None:
        self._cluster = cluster
        self.name = name
        self.uid = uid
        self.phase = "Pending"
        self.conditions: list[dict[str, str]] = []
        self.deletion: str | None = None
        self.labels = dict([OURS.split("=")])
        self.containers = {container: FakeContainer(self) for container in containers}
        self.version = 0

    async def report(self) -> None:
        """Publish the pod's state, as the kubelet does: the API shows the state of the last report."""
        await self._cluster.changed("MODIFIED", self)

    def as_json(self) -> dict[str, Any]:
        statuses = [
            {"name": name, "state": one.state, "lastState": one.last_state, "restartCount": one.restarts}
            for name, one in self.containers.items()
        ]
        metadata = {
            "name": self.name,
            "uid": self.uid,
            "labels": self.labels,
            "resourceVersion": str(self.version),
        }
        if self.deletion:
            metadata["deletionTimestamp"] = self.deletion
        return {
            "metadata": metadata,
            "spec": {"nodeName": NODE},
            "status": {"phase": self.phase, "conditions": self.conditions, "containerStatuses": statuses},
        }


class FakeKubernetes:
    """The API server. `requests` holds the path and query of each request."""

    def __init__(self) -> None:
        self.pods: dict[str, FakeKubernetesPod] = {}
        self.shown: dict[str, dict[str, Any]] = {}  # what a GET returns
        self.requests: list[str] = []
        self.refusals: list[tuple[int, bytes]] = []  # answers for the next log requests
        self.cuts = 0  # number of log responses to cut off in the middle of a chunk
        self.is_away = False
        self._version = 1
        self._events: list[tuple[int, bytes]] = []
        self._changed = asyncio.Condition()

    async def make(
        self, name: str, uid: str = "uid-1", containers: tuple[str, ...] = ("job",)
    ) -> FakeKubernetesPod:
        pod = self.pods[name] = FakeKubernetesPod(self, name, uid, containers)
        await self.changed("ADDED", pod)
        return pod

    async def remove(self, name: str) -> None:
        pod = self.pods.pop(name)
        await self.changed("DELETED", pod)
        for container in pod.containers.values():
            container.state = {"terminated": {}}
            await container.wake()

    async def changed(self, kind: str, pod: FakeKubernetesPod) -> None:
        pod.version = self._version + 1
        shown = pod.as_json()
        if kind == "DELETED":
            self.shown.pop(pod.name, None)
        else:
            self.shown[pod.name] = shown
        await self.tell(kind, shown)

    async def tell(self, kind: str, thing: dict[str, Any]) -> None:
        """Send an event to all watches."""
        async with self._changed:
            self._version += 1
            self._events.append((self._version, orjson.dumps({"type": kind, "object": thing}) + b"\n"))
            self._changed.notify_all()

    def asked(self, part: str) -> int:
        """Return the number of requests with this text in their path and query."""
        return sum(part in request for request in self.requests)

    @asynccontextmanager
    async def serving(self, folder: Path) -> AsyncIterator[Path]:
        """Serve on loopback, and yield the path of a kubeconfig for it."""
        app = web.Application()
        app.router.add_get("/api/v1/namespaces/{namespace}/pods", self._list)
        app.router.add_get("/api/v1/namespaces/{namespace}/pods/{name}", self._get)
        app.router.add_get("/api/v1/namespaces/{namespace}/pods/{name}/log", self._log)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            kubeconfig = folder / "kubeconfig"
            kubeconfig.write_text(_kubeconfig(f"http://127.0.0.1:{runner.addresses[0][1]}"))
            yield kubeconfig
        finally:
            await runner.cleanup()

    async def _list(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        if request.query.get("watch") == "true":
            return await self._watch(request)
        selected = [pod for pod in self.shown.values() if pod["metadata"]["labels"].get(OURS.split("=")[0])]
        return web.json_response({"metadata": {"resourceVersion": str(self._version)}, "items": selected})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        sent = int(request.query["resourceVersion"])
        while True:
            async with self._changed:
                await self._changed.wait_for(
                    lambda: any(version > sent for version, _ in self._events)  # noqa: B023 - used at once
                )
                new = [event for event in self._events if event[0] > sent]
            for version, event in new:
                sent = version
                await response.write(event)

    async def _get(self, request: web.Request) -> web.Response:
        self._note(request)
        pod = self.shown.get(request.match_info["name"])
        return web.json_response(pod) if pod else _status(404, "NotFound", "pods not found")

    async def _log(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        if self.refusals:
            status, body = self.refusals.pop(0)
            return web.Response(status=status, body=body)
        pod = self.pods.get(request.match_info["name"])
        if pod is None:
            return _status(404, "NotFound", "pods not found")
        container = pod.containers[request.query["container"]]
        if "waiting" in container.state:
            return _status(400, "BadRequest", "container is waiting to start: ContainerCreating")
        response = web.StreamResponse()
        await response.prepare(request)
        since = request.query.get("sinceTime", "").encode()
        async for data in container.log(
            since,
            follow=request.query.get("follow") == "true",
            previous=request.query.get("previous") == "true",
        ):
            if self.cuts:
                self.cuts -= 1
                await response.write(data[: len(data) // 2])
                assert request.transport is not None
                request.transport.abort()
                return response
            await response.write(data)
        return response

    def _note(self, request: web.Request) -> None:
        self.requests.append(str(request.rel_url))
        if self.is_away:
            raise web.HTTPServiceUnavailable


def _status(status: int, reason: str, message: str) -> web.Response:
    return web.json_response(
        {"kind": "Status", "reason": reason, "message": message, "code": status}, status=status
    )


def _kubeconfig(server: str) -> str:
    named = {"clusters": [{"name": "c", "cluster": {"server": server}}], "users": [{"name": "u", "user": {}}]}
    context = {"contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}], "current-context": "x"}
    return yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **named, **context})
