"""Tests of the watch of pods.

It detects stalls, starts again when the server requests it, and sends no other requests.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import orjson
import pytest

from services.logsink import pod_watch
from services.logsink.pod_watch import PodWatch
from shared.kubernetes.client import ApiError, ApiUnavailable, KubernetesApi, open_kubernetes
from tests.fakes.kubernetes_logs import FakeKubernetes
from tests.harness.waiting import until


def pod(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "uid": f"uid of {name}", "resourceVersion": "1"},
        "status": {"phase": "Running"},
    }


class Script:
    """A fake API. It answers lists and watches in this order, and then sends nothing."""

    def __init__(
        self, lists: list[dict[str, Any] | Exception], watches: list[list[dict[str, Any]] | Exception]
    ) -> None:
        self.lists = lists
        self.watches = watches
        self.queries: list[dict[str, object]] = []

    async def get(self, _path: str, **query: object) -> dict[str, Any]:
        self.queries.append(query)
        answer = self.lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    @asynccontextmanager
    async def stream(self, _path: str, **query: object) -> AsyncIterator[AsyncIterator[bytes]]:
        self.queries.append(query)
        answer = self.watches.pop(0) if self.watches else []
        if isinstance(answer, Exception):
            raise answer
        last = not self.watches

        async def chunks() -> AsyncIterator[bytes]:
            for event in answer:
                yield orjson.dumps(event)[:20]
                yield orjson.dumps(event)[20:] + b"\n"
            if last:
                await asyncio.Event().wait()

        yield chunks()


def page(*names: str, onward: str | None = None, version: str = "1") -> dict[str, Any]:
    return {
        "metadata": {"resourceVersion": version, "continue": onward},
        "items": [pod(name) for name in names],
    }


async def watched(script: Script, names: set[str]) -> PodWatch:
    """Run a watch of this API until it knows exactly these pods, and return it."""
    watch = PodWatch(cast("KubernetesApi", script), "builds", node=None, seconds=60)
    task = asyncio.create_task(watch.run())

    async def knows() -> bool:
        assert not task.done()
        return watch.all().keys() == names

    try:
        await until(knows, within=10, what=f"{names}")
    finally:
        task.cancel()
        await asyncio.wait([task])
    return watch


GONE = ApiError(410, "Expired", "too old resource version")


@pytest.mark.parametrize(
    ("lists", "watches", "names"),
    [
        pytest.param([page("a", onward="x"), page("b")], [], {"a", "b"}, id="a list in pages"),
        pytest.param(
            [page("a", onward="x"), GONE, page("c")], [], {"c"}, id="410 in the middle of a paged list"
        ),
        pytest.param([page("a"), page("b")], [GONE], {"b"}, id="410 as a status"),
        pytest.param(
            [page("a"), page("b")],
            [[{"type": "ERROR", "object": {"code": 410}}], []],
            {"b"},
            id="410 as an event",
        ),
        pytest.param([page("a"), page("b")], [ApiUnavailable("cut")], {"b"}, id="a cut"),
        pytest.param(
            [ApiUnavailable("429", status=429, retry_after_seconds=1), page("b")], [], {"b"}, id="429"
        ),
        pytest.param(
            [page("a")],
            [[{"type": "ADDED", "object": pod("b")}, {"type": "DELETED", "object": pod("a")}]],
            {"b"},
            id="events",
        ),
        pytest.param(
            [page("a")], [[{"type": "BOOKMARK", "object": {"metadata": {}}}]], {"a"}, id="a bookmark"
        ),
    ],
)
async def test_pods_are_known_for_any_answer_of_the_server(
    lists: list[dict[str, Any] | Exception], watches: list[list[dict[str, Any]] | Exception], names: set[str]
) -> None:
    await watched(Script(lists, watches), names)


async def test_only_our_pods_are_asked_for_and_on_a_node_only_its_own() -> None:
    script = Script([page("a")], [])
    await watched(script, {"a"})
    assert {query["labelSelector"] for query in script.queries} == {"app.kubernetes.io/managed-by=towpath"}
    on_node = PodWatch(cast("KubernetesApi", script), "builds", node="node-1", seconds=60)
    assert on_node._selectors["fieldSelector"] == "spec.nodeName=node-1"


async def test_a_watch_that_stalls_without_a_byte_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In production this takes 110 s: 100 s until the server should have ended the watch, and 10 s more."""
    monkeypatch.setattr(pod_watch, "_STALL_SECONDS", 0.2)
    fake = FakeKubernetes()
    async with fake.serving(tmp_path) as kubeconfig, open_kubernetes(kubeconfig) as api:
        task = asyncio.create_task(PodWatch(api, "builds", node=None, seconds=0.1).run())

        async def begun_anew() -> bool:
            return fake.asked("watch=true") >= 2

        await until(begun_anew, within=10, what="a second watch")
        task.cancel()
        await asyncio.wait([task])
