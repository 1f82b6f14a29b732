"""The informer's cache stays correct after every failure of its watch.

The tested code is `services.executor.kubernetes.informer`.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.executor.kubernetes.informer import Informer, Kind
from services.executor.kubernetes.object_cache import ObjectCache
from shared.kubernetes.client import KubernetesApi
from tests.fakes.kubernetes_api import ScriptedApi, events, page, refusal, scripted_api
from tests.harness.waiting import until


@dataclass(frozen=True)
class Thing:
    uid: str
    attempt_id: int
    word: str


def thing(uid: str, word: str = "there", version: str = "2") -> dict[str, Any]:
    return {"metadata": {"uid": uid, "resourceVersion": version}, "word": word}


def event(kind: str, uid: str, word: str = "there", version: str = "2") -> dict[str, Any]:
    return {"type": kind, "object": thing(uid, word, version)}


BOOKMARK = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "77"}}}
GONE = {
    "type": "ERROR",
    "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"},
}


def reduce(found: dict[str, Any]) -> Thing:
    return Thing(found["metadata"]["uid"], ord(found["metadata"]["uid"]), found["word"])


class Watched:
    def __init__(self) -> None:
        self.cache: ObjectCache[Thing] = ObjectCache(lambda _: None, time.monotonic)
        self.heard: list[frozenset[int]] = []

    def shows(self) -> dict[str, str]:
        return {
            held.seen.uid: held.seen.word
            for attempt in self.cache.attempts()
            for held in self.cache.of(attempt)
        }

    async def until(self, shown: dict[str, str]) -> None:
        async def check() -> bool:
            return self.shows() == shown

        await until(check, within=15, what=f"the mirror shows {shown}")


@asynccontextmanager
async def watched(api: KubernetesApi, watch_seconds: float = 100) -> AsyncIterator[Watched]:
    ours = Watched()
    watch = Informer(api, Kind("things", "/things", "a=b", reduce), ours.cache, watch_seconds)
    task = asyncio.create_task(watch.run(ours.heard.append))
    try:
        yield ours
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def scripted(tmp_path: Path) -> AsyncIterator[tuple[ScriptedApi, KubernetesApi]]:
    async with scripted_api(tmp_path) as both:
        yield both


async def test_a_list_of_several_pages_and_the_events_behind_it(
    scripted: tuple[ScriptedApi, KubernetesApi],
) -> None:
    script, api = scripted
    script.lists = [page([thing("a")], onward="more"), page([thing("b")], version="5")]
    script.watches = [
        events(event("MODIFIED", "a", "changed"), event("DELETED", "b"), event("ADDED", "c"), BOOKMARK)
    ]
    async with watched(api) as ours:
        await ours.until({"a": "changed", "c": "there"})
        assert ours.heard[0] == {ord("a"), ord("b")}
    assert "continue=more" in script.asked[1]
    assert "resourceVersion=5" in script.asked[2]
    assert "allowWatchBookmarks=true" in script.asked[2]
    assert all("labelSelector=a%3Db" in asked for asked in script.asked)


async def test_a_watch_that_is_cut_goes_on_from_its_last_bookmark(
    scripted: tuple[ScriptedApi, KubernetesApi],
) -> None:
    script, api = scripted
    script.lists = [page([thing("a")])]
    script.watches = [
        events(event("ADDED", "b"), BOOKMARK, then="cut"),
        events(event("DELETED", "a", version="78")),
    ]
    async with watched(api) as ours:
        await ours.until({"b": "there"})
    assert (script.list_count, script.watch_count) == (1, 2)
    assert "resourceVersion=77" in script.asked[-1]


@pytest.mark.parametrize("form", ["status", "event"])
async def test_f29_a_watch_that_is_too_old_is_replaced_by_a_new_list(
    scripted: tuple[ScriptedApi, KubernetesApi], form: str
) -> None:
    script, api = scripted
    script.lists = [page([thing("a")]), page([thing("b")], version="9")]
    too_old = refusal(410, "Expired") if form == "status" else events(event("ADDED", "c"), GONE)
    script.watches = [too_old, events(event("ADDED", "d"))]
    async with watched(api) as ours:
        await ours.until({"b": "there", "d": "there"})
    assert "resourceVersion=9" in script.asked[-1]


async def test_a_list_that_is_too_old_in_the_middle_begins_again(
    scripted: tuple[ScriptedApi, KubernetesApi],
) -> None:
    script, api = scripted
    script.lists = [page([thing("a")], onward="more"), refusal(410, "Expired"), page([thing("b")])]
    script.watches = [events()]
    async with watched(api) as ours:
        await ours.until({"b": "there"})
    assert "continue" not in script.asked[2]


async def test_f28_a_watch_that_falls_silent_is_noticed(scripted: tuple[ScriptedApi, KubernetesApi]) -> None:
    script, api = scripted
    script.lists = [page([thing("a")]), page([thing("b")])]
    script.watches = [events()]
    async with watched(api, watch_seconds=0.3) as ours:
        await ours.until({"b": "there"})


async def test_f30_a_server_that_asks_for_patience_gets_it(
    scripted: tuple[ScriptedApi, KubernetesApi],
) -> None:
    script, api = scripted
    script.lists = [refusal(429, headers={"Retry-After": "1"}), refusal(503), page([thing("a")])]
    script.watches = [events()]
    began = time.monotonic()
    async with watched(api) as ours:
        await ours.until({"a": "there"})
    assert time.monotonic() - began >= 1
    assert script.list_count == 3


async def test_a_server_that_takes_no_lists_is_not_stormed(
    scripted: tuple[ScriptedApi, KubernetesApi],
) -> None:
    """The server answers 410 to every watch. Each pause is longer than the one before."""
    script, api = scripted
    script.lists = [page([])]
    script.watches = [refusal(410, "Expired")]

    async def tried() -> bool:
        return script.list_count >= 5

    began = time.monotonic()
    async with watched(api):
        await until(tried, within=30, what="five lists")
    assert time.monotonic() - began > 0.5


async def test_words_that_are_no_events_end_a_watch_and_nothing_else(
    scripted: tuple[ScriptedApi, KubernetesApi],
) -> None:
    script, api = scripted
    script.lists = [page([thing("a")])]
    script.watches = [
        events("no event"),
        events({"type": "ERROR", "object": {"code": 500, "message": "oops"}}),
        events(event("ADDED", "b")),
    ]
    async with watched(api) as ours:
        await ours.until({"a": "there", "b": "there"})
