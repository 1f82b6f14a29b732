"""Logs: the stored bytes as text, and live streams from any position."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from services.gateway.consumers import on_live
from shared import step_markers
from shared.messaging.messages import LogAppended, LogSealed, RunFinished
from tests.harness.client import Client, ServerSentEvent
from tests.harness.waiting import until
from tests.integration.gateway.history import History
from tests.integration.gateway.serving import Serving, make_settings, serving


@pytest.fixture
def served(shared_gateway: Serving) -> Serving:
    return shared_gateway


class Printing:
    """A run with one job. The test writes the job's output."""

    def __init__(self, served: Serving, history: History) -> None:
        self.served, self.history = served, history

    async def begin(self) -> "Printing":
        _, self.owner = await self.served.person()
        self.repository = await self.served.repository()
        self.pipeline = await self.served.pipeline(self.owner)
        self.run_id = await self.history.run(self.pipeline, self.repository["id"], status="running")
        self.job_id = await self.history.job(self.run_id, status="running")
        self.attempt_id = await self.history.attempt(self.job_id, containers=["job"])
        self.stream_id = await self.history.stream(self.attempt_id)
        self.nonce = step_markers.nonce(f"token-{self.job_id}-1")
        return self

    @property
    def path(self) -> str:
        return f"/runs/{self.run_id}/logs"

    async def print(self, text: bytes, *, with_notification: bool = True) -> None:
        next_line = await self.history.write(self.stream_id, text)
        if with_notification:
            await self.hear(LogAppended(appended=((self.stream_id, self.run_id, next_line),)))

    async def end(self) -> None:
        await self.history.finish(self.run_id)
        await self.hear(RunFinished(run_ids=(self.run_id,)))
        await self.history.seal(self.stream_id)
        await self.hear(LogSealed(cluster="local", attempt_ids=(self.attempt_id,)))

    async def hear(self, message: Any) -> None:
        await on_live(self.served.gateway.effects, self.served.gateway.live, message)


@pytest.fixture
async def printing(served: Serving, history: History) -> Printing:
    return await Printing(served, history).begin()


class Watcher:
    """Follows the log stream of a run in a task of its own."""

    def __init__(self, client: Client, path: str, last_event_id: str | None = None) -> None:
        self.events: list[ServerSentEvent] = []
        self.task = asyncio.create_task(self._follow(client, f"{path}/stream", last_event_id))

    async def _follow(self, client: Client, path: str, last_event_id: str | None) -> None:
        async with client.events(path, last_event_id) as events:
            async for event in events:
                self.events.append(event)

    @property
    def lines(self) -> list[str]:
        return [
            line for event in self.events if event.kind == "lines" for line in json.loads(event.data)["lines"]
        ]

    async def sees(self, *lines: str, within: float = 5) -> None:
        async def seen() -> bool:
            return self.lines == list(lines)

        await until(seen, within=within, what=f"{lines}, not {self.lines}")

    async def ends(self) -> None:
        await asyncio.wait_for(self.task, 10)
        assert self.events[-1].kind == "end"


async def test_a_download_is_the_stored_bytes(printing: Printing) -> None:
    text = (
        b"\xff\xfe invalid\n\x00nul\n\x1b[31mred\x1b[0m\n<script>alert(1)</script>\nno line feed at the end"
    )
    await printing.print(text[:20] + text[20 : text.index(b"\n", 20) + 1])
    await printing.print(text[text.index(b"\n", 20) + 1 :])
    answer = (await printing.owner.get(f"{printing.path}?job=test&attempt=1&container=job")).expect(200)
    assert answer.raw == text
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert (await printing.owner.get(f"{printing.path}?job=test")).raw == text


async def test_step_markers_are_left_out(printing: Printing) -> None:
    begin, end = (
        step_markers.begin(printing.nonce, 1, "pytest").encode(),
        f"::towpath-{printing.nonce}::end 1 0".encode(),
    )
    await printing.print(begin + b"\nhello\nno feed" + end + b"\n::towpath-0000::begin 1 forged\n")
    assert (
        await printing.owner.get(f"{printing.path}?job=test")
    ).raw == b"hello\nno feed::towpath-0000::begin 1 forged\n"


@pytest.mark.parametrize("is_one_segment", [True, False])
async def test_a15_under_headings_a_step_begins_on_its_own_line(
    printing: Printing, is_one_segment: bool
) -> None:
    def begin(index: int) -> bytes:
        return step_markers.begin(printing.nonce, index, "a step").encode() + b"\n"

    def end(index: int) -> bytes:
        return f"::towpath-{printing.nonce}::end {index} 0 s\n".encode()

    parts = [
        begin(1) + b'{"ok":true}' + end(1),
        begin(2) + b"Compiling\n" + end(2),
        begin(3) + b"done" + end(3),
    ]
    for part in [b"".join(parts)] if is_one_segment else parts:
        await printing.print(part)
    heading = b"==> test, attempt 1, job <==\n"
    assert (await printing.owner.get(printing.path)).raw == heading + b'{"ok":true}\nCompiling\ndone\n'
    assert (await printing.owner.get(f"{printing.path}?job=test")).raw == b'{"ok":true}Compiling\ndone'


async def test_the_whole_log_stands_under_headings_in_the_order_of_the_jobs(printing: Printing) -> None:
    first = await printing.history.job(printing.run_id, "a-later-one", 1)
    attempt = await printing.history.attempt(first, containers=["clone", "job"])
    await printing.history.write(await printing.history.stream(attempt, "job"), b"of the second\n")
    await printing.history.write(await printing.history.stream(attempt, "clone"), b"cloned")
    await printing.print(b"of the first\n")
    expected = (
        "==> test, attempt 1, job <==\nof the first\n==> a-later-one, attempt 1, clone <==\ncloned\n==> "
        "a-later-one, attempt 1, job <==\nof the second\n"
    )
    assert (await printing.owner.get(printing.path)).expect(200).text == expected
    clone = (await printing.owner.get(f"{printing.path}?container=clone&attempt=1")).expect(200).text
    assert clone == "==> a-later-one, attempt 1, clone <==\ncloned\n"


async def test_logs_name_a_job_by_its_key_and_not_by_its_title(printing: Printing) -> None:
    """Jobs of a matrix may all have the same title."""
    for position, key in enumerate(("test (3.11)", "test (3.12)"), start=1):
        job_id = await printing.history.job(printing.run_id, "Tests", position, key=key)
        stream = await printing.history.stream(await printing.history.attempt(job_id), "job")
        await printing.history.write(stream, f"of {key}\n".encode())
        await printing.history.gaps(stream, [1])
    assert (await printing.owner.get(f"{printing.path}?job=test+(3.12)")).expect(
        200
    ).raw == b"of test (3.12)\n"
    (await printing.owner.get(f"{printing.path}?job=Tests")).expect(404)
    whole = (await printing.owner.get(printing.path)).expect(200).raw.decode()
    assert "==> test (3.11), attempt 1, job <==\nof test (3.11)\n" in whole
    run = (await printing.owner.get(f"/runs/{printing.run_id}")).expect(200).json
    assert [gap["job"] for gap in run["log_gaps"]] == ["test (3.11)", "test (3.12)"]


async def test_without_an_attempt_the_newest_is_meant(printing: Printing) -> None:
    await printing.print(b"first try\n")
    again = await printing.history.attempt(printing.job_id, 2)
    assert (await printing.owner.get(f"{printing.path}?job=test")).raw == b""
    await printing.history.write(await printing.history.stream(again), b"second try\n")
    assert (await printing.owner.get(f"{printing.path}?job=test")).raw == b"second try\n"
    assert (await printing.owner.get(f"{printing.path}?job=test&attempt=1")).raw == b"first try\n"


@pytest.mark.parametrize(
    ("query", "status"), [("job=none", 404), ("job=test&attempt=9", 404), ("job=test&attempt=0", 422)]
)
async def test_a_log_that_is_not_there(printing: Printing, query: str, status: int) -> None:
    (await printing.owner.get(f"{printing.path}?{query}")).expect(status)


async def test_a_large_log_is_whole(printing: Printing) -> None:
    parts = [
        b"".join(b"line %d\n" % number for number in range(start, start + 500))
        for start in range(0, 50_000, 500)
    ]
    for part in parts:
        await printing.print(part, with_notification=False)
    assert (await printing.owner.get(f"{printing.path}?job=test")).raw == b"".join(parts)
    watcher = Watcher(printing.owner, printing.path)
    await printing.end()
    await watcher.ends()
    assert "".join(f"{line}\n" for line in watcher.lines).encode() == b"".join(parts)


async def test_a_watcher_sees_what_was_printed_and_what_is_being_printed(printing: Printing) -> None:
    await printing.print(b"one\ntwo\n")
    watcher = Watcher(printing.owner, printing.path)
    await watcher.sees("one", "two")
    await printing.print(b"three\n")
    await watcher.sees("one", "two", "three")
    await printing.print(b"\xff four")
    await printing.end()
    await watcher.ends()
    assert watcher.lines == ["one", "two", "three", "\ufffd four"]
    statuses = [
        json.loads(event.data)["status"] for event in watcher.events if event.kind in {"status", "end"}
    ]
    assert statuses == ["running", "success", "success"]


async def test_a_line_is_shown_soon_after_its_notification(printing: Printing) -> None:
    watcher = Watcher(printing.owner, printing.path)
    await printing.print(b"one\n")
    await watcher.sees("one")
    loop = asyncio.get_running_loop()
    started = loop.time()
    await printing.print(b"two\n")
    await watcher.sees("one", "two", within=1)
    assert loop.time() - started < 1
    watcher.task.cancel()


async def test_a_lost_notification_costs_a_moment(printing: Printing) -> None:
    watcher = Watcher(printing.owner, printing.path)
    await printing.print(b"one\n")
    await watcher.sees("one")
    await printing.print(b"two\n", with_notification=False)
    await watcher.sees("one", "two", within=10)
    watcher.task.cancel()


async def test_a_watcher_goes_on_after_the_last_event_it_saw(printing: Printing) -> None:
    await printing.print(b"one\ntwo\n")
    await printing.print(b"three\nfour\n")
    first = Watcher(printing.owner, printing.path)
    await first.sees("one", "two", "three", "four")
    first.task.cancel()
    last_id = next(event.id for event in first.events if event.kind == "lines")
    assert last_id == f"{printing.stream_id}:3"
    await printing.print(b"five\n")
    for place, rest in (
        (last_id, ["three", "four", "five"]),
        (f"{printing.stream_id}:2", ["two", "three", "four", "five"]),
        (f"{printing.stream_id}:99", []),
    ):
        second = Watcher(printing.owner, printing.path, place)
        await second.sees(*rest)
        second.task.cancel()


async def test_steps_are_events_of_their_own(printing: Printing) -> None:
    begin, end = (
        step_markers.begin(printing.nonce, 1, "pytest").encode(),
        f"::towpath-{printing.nonce}::end 1 3 t".encode(),
    )
    await printing.print(begin + b"\nhello\nno feed" + end + b"\nafter\n")
    watcher = Watcher(printing.owner, printing.path)
    await printing.end()
    await watcher.ends()
    told = [
        (event.kind, json.loads(event.data)) for event in watcher.events if event.kind in {"lines", "step"}
    ]
    shown = ("lines", "phase", "name", "exit_code", "outcome")
    assert [(kind, {name: data[name] for name in shown if name in data}) for kind, data in told] == [
        ("step", {"phase": "begin", "name": "pytest"}),
        ("lines", {"lines": ["hello", "no feed"]}),
        ("step", {"phase": "end", "exit_code": 3, "outcome": "timed_out"}),
        ("lines", {"lines": ["after"]}),
    ]


async def test_watchers_of_one_run_share_what_is_read(printing: Printing) -> None:
    await printing.print(b"one\n")
    watchers = [Watcher(printing.owner, printing.path) for _ in range(20)]
    for watcher in watchers:
        await watcher.sees("one")
    assert printing.served.gateway.live.watchers >= 20
    await printing.print(b"two\n")
    await printing.end()
    for watcher in watchers:
        await watcher.ends()
        assert watcher.lines == ["one", "two"]


@pytest.mark.parametrize("last_event_id", ["x", "1", "1:x", "-1:2", "1:2;3:4", "1:" + "9" * 30])
async def test_a_place_that_is_none_is_refused(printing: Printing, last_event_id: str) -> None:
    (await printing.owner.get(f"{printing.path}/stream", headers={"Last-Event-ID": last_event_id})).expect(
        400
    )


async def test_a_gateway_that_stops_lets_its_watchers_go(
    database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    async with serving(make_settings(database_url, amqp_url, tmp_path), None) as served:
        history = await History.of(served.database_url)
        printing = await Printing(served, history).begin()
        await printing.print(b"one\n")
        watcher = Watcher(printing.owner, printing.path)
        await watcher.sees("one")
        await history.connection.close()
        served.gateway.live.close()
        await asyncio.wait_for(watcher.task, 5)
        assert watcher.events[-1].kind != "end"
        (await printing.owner.get(f"{printing.path}/stream")).expect(503)
