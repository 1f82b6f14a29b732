"""Tests of the end of a job's log: it is complete, or a gap marker says that it may not be.

They run with every kind of source. A step has ended according to the driver; its end marker, or a part of it,
is in the log or not.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.logsink.lines import LONGEST_LINE_BYTES
from services.logsink.sources import Source
from services.logsink.step_ends import END_NOT_KEPT
from services.logsink.store import Reach, Stream
from shared import step_markers
from shared.masking import Masker
from tests.contracts.log_worlds import NOTED, Container, MakeSource, worlds
from tests.harness.waiting import until
from tests.integration.logsink.running import Record, RunningSink, running_sink

NONCE = step_markers.nonce("t")
BEGIN = step_markers.begin(NONCE, 1, "count").encode() + b"\n"
END = f"::towpath-{NONCE}::end 1 0 s\n".encode()
LINES = b"".join(b"line %d\n" % number for number in range(1, 1001))
MARKER = f"[towpath: lines may be missing here: {END_NOT_KEPT}]\n".encode()
LONG = b"x" * 2 * LONGEST_LINE_BYTES


@dataclass
class Scene:
    """One container, the log sinks that store its log, and what they store."""

    database_url: str
    record: Record
    container: Container
    make: MakeSource
    attempt_id: int = 0

    def source_of(self, stream: Stream, masker: Masker) -> Source:
        source = self.make(masker)
        source.start_at(stream.cursor)
        return source

    def sink(self) -> Any:
        return running_sink(
            self.database_url,
            lease_seconds=1,
            source_of=self.source_of,
            reach=lambda: Reach(files=True),
        )

    async def begin(self, running: RunningSink, container: str = "job", token: bytes | None = None) -> None:
        repository = await self.record.repository(token)
        self.attempt_id = await self.record.attempt("/x", (container,), repository_id=repository)
        assert await running.sink.open([self.attempt_id]) == 1

    async def gaps(self, container: str = "job") -> list[str]:
        return [gap["reason"] for gap in (await self.record.sealed(self.attempt_id, container))["gaps"]]


@pytest.fixture(params=["cri_files", "api_server", "node_files"])
async def scene(
    request: pytest.FixtureRequest, tmp_path: Path, database_url: str, record: Record
) -> AsyncIterator[Scene]:
    async with worlds[request.param](tmp_path, None) as (container, make):
        yield Scene(database_url, record, container, make)


@pytest.mark.parametrize(
    "kept",
    [
        BEGIN + LINES[: LINES.index(b"line 994") + 7],
        BEGIN + LINES[: LINES.index(b"line 994")],
        BEGIN + LINES,
        BEGIN + LINES + END[:-1],
        BEGIN + LINES + END[:30],
        BEGIN,
        b"",
        BEGIN + LONG,
        BEGIN + END.replace(b"end 1", b"end 0"),
        BEGIN + LINES + END.replace(NONCE.encode(), b"0" * 16),
    ],
    ids=[
        "within a line",
        "between lines",
        "without the marker",
        "within the marker",
        "before its index",
        "without output",
        "empty",
        "within a long line",
        "another step",
        "another attempt",
    ],
)
async def test_a19_an_end_that_the_cluster_did_not_keep_is_a_gap(scene: Scene, kept: bytes) -> None:
    async with scene.sink() as running:
        await scene.begin(running)
        await scene.container.prints(kept)
        await scene.container.ends()
        assert await scene.gaps() == [END_NOT_KEPT]
    stored = await scene.record.text(scene.attempt_id)
    assert stored.endswith(MARKER)
    if LONG not in kept:
        assert stored == kept + (b"" if kept.endswith(b"\n") or not kept else b"\n") + MARKER


@pytest.mark.parametrize(
    ("text", "noted"),
    [
        (BEGIN + LINES + END, NOTED),
        (BEGIN + b"no line feed" + END, NOTED),
        (BEGIN + LONG + END, NOTED),
        (BEGIN + LINES + END + b"a process that the step left\nno line feed", NOTED),
        (BEGIN + END.replace(b" 0 s", b" 0"), NOTED),
        (BEGIN + b"killed", "\ndriver\n1 "),
        (BEGIN + b"killed", ""),
        (BEGIN + b"killed", "the driver's file was overwritten"),
        (BEGIN + LINES + END + BEGIN.replace(b"begin 1", b"begin 2") + b"killed", NOTED + "\n2 "),
        (BEGIN + LONG + END + BEGIN.replace(b"begin 1", b"begin 2") + b"killed\n", NOTED + "\n2 "),
        (b"", "\ndriver\nover"),
        (b"towpath: this attempt can not be started\n", ""),
    ],
    ids=[
        "whole",
        "no line feed",
        "long line",
        "process left",
        "old marker",
        "killed",
        "no file",
        "overwritten",
        "killed in the second step",
        "killed after a long line",
        "no step ran",
        "started twice",
    ],
)
async def test_a19_a_log_that_may_end_so_has_no_gap(scene: Scene, text: bytes, noted: str) -> None:
    async with scene.sink() as running:
        await scene.begin(running)
        await scene.container.prints(text)
        await scene.container.ends(noted)
        assert await scene.gaps() == []
    stored = await scene.record.text(scene.attempt_id)
    assert stored == text or LONG in text


async def test_an_end_that_an_earlier_log_sink_stored_counts(scene: Scene) -> None:
    async with scene.sink() as running:
        await scene.begin(running)
        await scene.container.prints(BEGIN + LINES + END)

        async def is_stored() -> bool:
            return await scene.record.text(scene.attempt_id) == BEGIN + LINES + END

        await until(is_stored, within=10, what="the output")
        running.kill()
    await scene.record.connection.execute("UPDATE log_streams SET lease_until = now() - interval '1 s'")
    async with scene.sink() as running:
        assert await running.sink.take_over() == 1
        await scene.container.ends()
        assert await scene.gaps() == []


async def test_markers_in_which_a_secret_occurs_prove_nothing(scene: Scene) -> None:
    async with scene.sink() as running:
        await scene.begin(running, token=b"towpath")
        await scene.container.prints(BEGIN + LINES + END)
        await scene.container.ends()
        assert await scene.gaps() == []


async def test_the_end_of_another_containers_log_is_not_known(scene: Scene) -> None:
    """The message of a service may look like a driver's. Its log has no markers."""
    async with scene.sink() as running:
        await scene.begin(running, "service")
        await scene.container.prints(b"a service, stopped in a li")
        await scene.container.ends()
        assert await scene.gaps("service") == []
