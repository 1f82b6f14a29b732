"""Every log line is stored once, in order and byte for byte, and shown to viewers."""

import asyncio
import json

import pytest

from tests.harness.installation import Towpath, one_job
from tests.harness.scenes import Document
from tests.harness.waiting import until

pytestmark = pytest.mark.pods("logs are read through the API server")

COUNT = 100_000
EXPECTED = b"".join(b"line %d of the log\n" % number for number in range(1, COUNT + 1))


def check_whole_or_declared(log: bytes, run: Document) -> None:
    """Check that the log has all lines, or says where the cluster did not keep its end.

    A container runtime on a busy machine may lose the end of much output.
    """
    kept, gap, _ = log.partition(b"[towpath: lines may be missing here: the end of this container's output")
    assert len(run["log_gaps"]) == (1 if gap else 0)
    assert EXPECTED.startswith(kept.removesuffix(b"\n")) if gap else log == EXPECTED


async def test_a_hundred_thousand_lines_are_stored_and_watched_exactly(towpath: Towpath) -> None:
    person = await towpath.person()
    repository = await towpath.repository(person)
    line = 'printf "line %d of the log\\n", i; if (i % 5000 == 0) system("sleep 0.02")'
    script = f"awk 'BEGIN {{ for (i = 1; i <= {COUNT}; i++) {{ {line} }} }}'"
    pipeline = await towpath.pipeline(person, one_job(repository, script))
    await towpath.deliver_push(repository)
    run = await towpath.run_of(pipeline)

    watched = await asyncio.wait_for(watch(towpath, run["id"]), 60)
    run = await towpath.finished(run["id"], sealed=True)

    assert run["status"] == "success"
    log = await towpath.log(run["id"], "only")
    assert watched == log
    check_whole_or_declared(log, run)


async def test_a_watcher_who_was_cut_off_goes_on_where_it_stopped(towpath: Towpath) -> None:
    person = await towpath.person()
    repository = await towpath.repository(person)
    script = 'for i in $(seq 1 40); do echo "line $i"; sleep 0.05; done'
    pipeline = await towpath.pipeline(person, one_job(repository, script))
    await towpath.deliver_push(repository)
    run = await towpath.run_of(pipeline)

    first, last_id = await watch_some(towpath, run["id"], lines=5)
    rest = await asyncio.wait_for(watch(towpath, run["id"], last_event_id=last_id), 30)

    assert first + rest == b"".join(b"line %d\n" % number for number in range(1, 41))


async def test_what_a_job_prints_strangely_is_stored_as_it_is(towpath: Towpath) -> None:
    """The output has invalid UTF-8, NUL, escapes and JSON, and no line feed at its end."""
    person = await towpath.person()
    repository = await towpath.repository(person)
    script = (
        r"""printf '\377\376 invalid\n\000nul\n\033[31mred\033[0m\n{"type":"ADDED","object":{}}\n"""
        r"""<script>alert(1)</script>\nno line feed at the end'"""
    )
    pipeline = await towpath.pipeline(person, one_job(repository, script))
    await towpath.deliver_push(repository)
    run = await towpath.only_run(pipeline)

    expected = (
        b'\xff\xfe invalid\n\x00nul\n\x1b[31mred\x1b[0m\n{"type":"ADDED","object":{}}\n'
        b"<script>alert(1)</script>\nno line feed at the end"
    )
    log = await towpath.log(run["id"], "only")
    assert log.removesuffix(b"\n") == expected


async def test_a_job_that_prints_nothing_has_a_sealed_empty_log(towpath: Towpath) -> None:
    person = await towpath.person()
    repository = await towpath.repository(person)
    pipeline = await towpath.pipeline(person, one_job(repository, "true"))
    await towpath.deliver_push(repository)
    run = await towpath.only_run(pipeline)

    assert run["status"] == "success"
    assert await towpath.log(run["id"], "only") == b""


async def test_the_whole_log_has_a_heading_for_each_job(towpath: Towpath) -> None:
    person = await towpath.person()
    repository = await towpath.repository(person)
    yaml = (
        one_job(repository, "echo from-only")
        + "  second:\n    needs: [only]\n    checkout: false\n    steps:\n      - run: echo from-second\n"
    )
    pipeline = await towpath.pipeline(person, yaml)
    await towpath.deliver_push(repository)
    run = await towpath.only_run(pipeline)

    answer = (await towpath.admin.get(run["logs"])).expect(200)
    assert answer.headers["content-type"].startswith("text/plain")
    first, second = answer.text.index("from-only"), answer.text.index("from-second")
    assert "only" in answer.text[:first]
    assert first < second
    assert "second" in answer.text[first:second]


async def watch(towpath: Towpath, run_id: int, last_event_id: str | None = None) -> bytes:
    """Return all log bytes of a run's job containers, as an SSE client receives them until the end."""
    seen: list[bytes] = []
    async with towpath.admin.events(f"/runs/{run_id}/logs/stream", last_event_id) as events:
        async for event in events:
            if event.kind == "end":
                return b"".join(seen)
            if event.kind == "lines":
                seen.append(_bytes(event.data))
    raise AssertionError("the stream ended without an end event")


async def watch_some(towpath: Towpath, run_id: int, *, lines: int) -> tuple[bytes, str | None]:
    """Receive at least this many lines, then disconnect.

    Returns the bytes and the event id from which to continue.
    """
    seen = b""
    async with towpath.admin.events(f"/runs/{run_id}/logs/stream") as events:
        async for event in events:
            if event.kind == "lines":
                seen += _bytes(event.data)
                if seen.count(b"\n") >= lines:
                    return seen, event.id
    raise AssertionError("the stream ended early")


def _bytes(data: str) -> bytes:
    return "".join(line + "\n" for line in json.loads(data)["lines"]).encode()


async def test_the_log_of_a_running_job_can_be_read_while_it_grows(towpath: Towpath) -> None:
    person = await towpath.person()
    repository = await towpath.repository(person)
    gate = towpath.gate()
    script = f"echo early\nwhile {gate.closed()}; do sleep 0.05; done\necho late"
    pipeline = await towpath.pipeline(person, one_job(repository, script))
    await towpath.deliver_push(repository)
    run = await towpath.run_of(pipeline)

    async def early() -> bytes | None:
        return await towpath.log(run["id"], "only") or None

    assert await until(early, within=20, what="the first line") == b"early\n"
    gate.open()
    await towpath.finished(run["id"], sealed=True)
    assert await towpath.log(run["id"], "only") == b"early\nlate\n"
