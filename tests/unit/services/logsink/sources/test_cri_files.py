"""Tests of CRI files with rotation.

Every line is read once and in order, from any cursor. If this can't be proven, there is a gap.
"""

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.logsink.pod_directory import PodDirectory
from services.logsink.sources import Cursor, Reading
from services.logsink.sources.cri_files import CriFileSource
from services.logsink.sources.log_files import RestartedLogFiles
from services.logsink.wakeups import Wakeups
from shared.masking import Masker
from tests.fakes.pod_directory import FakePod, cri


class Reader:
    """Opens sources on one pod and keeps what they read, as a log sink would store it."""

    def __init__(self, pod: FakePod, wakeups: Wakeups) -> None:
        self._pod = pod
        self._wakeups = wakeups
        self.text = b""
        self.gaps: list[str] = []
        self.cursor: Cursor | None = None
        self.has_ended = False
        self._source = self._opened()

    def _opened(self) -> CriFileSource:
        source = CriFileSource(PodDirectory(self._pod.path), "job", Masker([]), self._wakeups)
        source.start_at(self.cursor)
        return source

    async def restart(self) -> None:
        """Open a new source at the stored cursor. It reads again what was not stored."""
        await self._source.close()
        self._source = self._opened()

    async def read(self, *, stores: bool = True) -> Reading:
        reading = await self._source.read()
        if stores:
            self.text += reading.lines.text
            self.gaps += [why for why in (reading.gap, reading.end and reading.end.gap) if why]
            self.cursor = reading.cursor or self.cursor
            self.has_ended = reading.end is not None
        return reading

    async def read_all(self) -> None:
        """Read until there is nothing more to read, as a follower does over time."""
        while (reading := await self.read()).more or (reading.lines.text and not reading.end):
            pass

    async def close(self) -> None:
        await self._source.close()


@pytest.fixture
def wakeups() -> Iterator[Wakeups]:
    made = Wakeups()
    yield made
    made.close()


@pytest.fixture
def pod(tmp_path: Path) -> FakePod:
    return FakePod(tmp_path / "pod")


texts = st.lists(
    st.sampled_from([b"\n", b"\n", b"a", b"longer than a part ", b"\r", b"\xff\x00"]), min_size=1, max_size=8
).map(b"".join)
steps = st.lists(
    st.one_of(
        texts,
        st.sampled_from(
            [
                "rotate",
                "rotate and compress",
                "read",
                "restart",
                "crash before the commit",
                "late line in the rotated file",
            ]
        ),
    ),
    max_size=25,
)


def _rotated_last(pod: FakePod) -> list[Path]:
    """Return the file that may still get lines: the one rotated last, while the current one is empty."""
    return (
        sorted(pod.path.glob("log/job.log.*"))[-1:]
        if pod.log().exists() and not pod.log().stat().st_size
        else []
    )


async def _live(pod: FakePod, reader: Reader, steps: list[bytes | str], cut: int) -> bytes:
    """Execute these steps and return the text that was printed."""
    printed = b""
    rotated: Path | None = None
    for number, step in enumerate(steps):
        if isinstance(step, bytes):
            records = cri(step, first=number * 1000, part_bytes=11)
            pod.append(records[: len(records) * cut // 10])
            await reader.read()
            if number % 2:
                await reader.restart()
            pod.append(records[len(records) * cut // 10 :])
            printed += step
        elif step == "read":
            await reader.read()
        elif step == "restart":
            await reader.restart()
        elif step == "crash before the commit":
            await reader.read(stores=False)
            await reader.restart()
        elif step == "late line in the rotated file":
            if rotated in _rotated_last(pod):
                with rotated.open("ab") as file:
                    file.write(cri(b"late\n", first=number * 1000))
                printed += b"late\n"
        elif pod.log().exists():
            rotated = pod.rotate(compress_older="compress" in step)
    return printed


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(0, 10))
def test_every_byte_is_read_once(steps: list[bytes | str], cut: int) -> None:
    async def live() -> None:
        with tempfile.TemporaryDirectory() as folder:
            wakeups = Wakeups()
            pod = FakePod(Path(folder) / "pod")
            reader = Reader(pod, wakeups)
            printed = await _live(pod, reader, steps, cut)
            pod.end()
            await reader.read_all()
            await reader.close()
            wakeups.close()
            assert (reader.text, reader.gaps, reader.has_ended) == (printed, [], True)

    asyncio.run(live())


async def test_a_rotated_file_still_gets_lines_until_its_successor_has_one(
    pod: FakePod, wakeups: Wakeups
) -> None:
    reader = Reader(pod, wakeups)
    pod.write(b"one\n")
    await reader.read_all()
    rotated = pod.rotate()
    await reader.read_all()
    with rotated.open("ab") as file:
        file.write(cri(b"two\n"))
    pod.write(b"three\n")
    await reader.read_all()
    assert reader.text == b"one\ntwo\nthree\n"


async def test_a_line_written_while_the_reader_changes_files_is_not_lost(
    pod: FakePod, wakeups: Wakeups
) -> None:
    reader = Reader(pod, wakeups)
    pod.write(b"one\n")
    await reader.read()
    rotated = pod.rotate()
    pod.write(b"three\n")
    assert (await reader.read()).more
    with rotated.open("ab") as file:
        file.write(cri(b"two\n"))
    await reader.read_all()
    assert reader.text == b"one\ntwo\nthree\n"


async def test_a_log_is_read_from_its_oldest_file(pod: FakePod, wakeups: Wakeups) -> None:
    for number in range(5):
        pod.write(b"%d\n" % number)
        pod.rotate(compress_older=True)
    pod.end()
    reader = Reader(pod, wakeups)
    await reader.read_all()
    assert (reader.text, reader.has_ended) == (b"0\n1\n2\n3\n4\n", True)


async def test_while_a_file_is_compressed_its_lines_come_once(pod: FakePod, wakeups: Wakeups) -> None:
    pod.write(b"one\n")
    rotated = pod.rotate()
    kept = rotated.read_bytes()
    pod.compress()
    rotated.write_bytes(kept)
    rotated.with_name(rotated.name + ".tmp").write_bytes(kept)
    pod.write(b"two\n")
    pod.end()
    reader = Reader(pod, wakeups)
    await reader.read_all()
    assert reader.text == b"one\ntwo\n"


async def test_files_rotated_away_unread_are_a_gap(pod: FakePod, wakeups: Wakeups) -> None:
    reader = Reader(pod, wakeups)
    pod.append(cri(b"one\n") + cri(b"two"))
    await reader.read_all()
    pod.write(b" more\n")
    for name in (b"three\n", b"four\n"):
        pod.rotate().unlink()
        pod.write(name)
    pod.end()
    await reader.read_all()
    assert reader.text == b"one\ntwo more\nfour\n"
    assert reader.gaps == ["log files were rotated away before they were read"]


async def test_a_line_that_a_gap_cuts_keeps_its_beginning(pod: FakePod, wakeups: Wakeups) -> None:
    reader = Reader(pod, wakeups)
    pod.append(cri(b"one\ntwo"))
    await reader.read_all()
    pod.rotate().unlink()
    pod.write(b"three\n")
    pod.end()
    await reader.read_all()
    assert reader.text == b"one\ntwo\nthree\n"
    assert len(reader.gaps) == 1


async def test_a_file_that_is_cut_short_is_a_gap(pod: FakePod, wakeups: Wakeups) -> None:
    reader = Reader(pod, wakeups)
    pod.write(b"one\ntwo\n")
    await reader.read_all()
    pod.log().write_bytes(cri(b"new\n"))
    pod.end()
    await reader.read_all()
    assert reader.text == b"one\ntwo\nnew\n"
    assert reader.gaps == ["the log file was cut short"]


async def test_a_place_in_a_replaced_file_is_a_gap_even_with_its_inode(
    pod: FakePod, wakeups: Wakeups
) -> None:
    reader = Reader(pod, wakeups)
    pod.write(b"one\n")
    await reader.read_all()
    pod.log().write_bytes(cri(b"other, longer\nlines\n", first=7))
    pod.end()
    await reader.restart()
    await reader.read_all()
    assert reader.text == b"one\nother, longer\nlines\n"
    assert len(reader.gaps) == 1


@pytest.mark.parametrize("zeros", [False, True])
async def test_a_log_that_lost_its_end_in_a_crash_goes_on_behind_a_gap(
    pod: FakePod, wakeups: Wakeups, zeros: bool
) -> None:
    """The file is shorter than before, or its last blocks are zero. Nothing is read twice."""
    reader = Reader(pod, wakeups)
    pod.append(cri(b"".join(b"line %d\n" % number for number in range(1000))))
    await reader.read_all()
    before = reader.text
    kept = pod.log().read_bytes()[:10_000]
    with pod.log().open("r+b") as file:
        if zeros:
            file.seek(10_000)
            file.write(bytes(pod.log().stat().st_size - 10_000))
        else:
            file.truncate(kept.rfind(b"\n") + 1)
    await reader.restart()
    await reader.read_all()
    pod.append(cri(b"after\n", first=5000))
    pod.end()
    await reader.read_all()
    assert (reader.text, reader.has_ended) == (before + b"after\n", True)
    assert reader.gaps == ["the end of the log file was lost"]


async def test_a_gap_is_told_with_the_lines_behind_it(pod: FakePod, wakeups: Wakeups) -> None:
    """The marker and the cursor are stored together.

    A crash between two writes would record the gap twice.
    """
    reader = Reader(pod, wakeups)
    pod.write(b"one\n")
    await reader.read_all()
    pod.log().unlink()
    await reader.restart()
    assert not (await reader.read()).gap
    pod.write(b"two\n")
    reading = await reader.read()
    assert (bool(reading.gap), reading.lines.text, bool(reading.cursor)) == (True, b"two\n", True)


async def test_a_log_file_that_is_gone_at_the_end_is_a_gap(pod: FakePod, wakeups: Wakeups) -> None:
    reader = Reader(pod, wakeups)
    pod.write(b"one\n")
    await reader.read_all()
    pod.log().unlink()
    pod.end()
    await reader.restart()
    await reader.read_all()
    assert reader.has_ended
    assert reader.gaps == ["the log file is gone"]


async def test_a_lost_supervisor_ends_the_log_with_a_gap_after_its_last_line(
    pod: FakePod, wakeups: Wakeups
) -> None:
    reader = Reader(pod, wakeups)
    pod.append(cri(b"one\nunended"))
    pod.lose_supervisor()
    await reader.read_all()
    assert (reader.text, reader.has_ended) == (b"one\nunended\n", True)
    assert reader.gaps == ["the pod's supervisor ended before its log did"]


async def test_a_pod_that_ended_proves_the_logs_of_containers_that_never_ran(
    pod: FakePod, wakeups: Wakeups
) -> None:
    pod.lose_supervisor()
    pod.end_all()
    reader = Reader(pod, wakeups)
    await reader.read_all()
    assert (reader.text, reader.gaps, reader.has_ended) == (b"", [], True)


async def test_a_container_that_is_started_again_goes_on_in_its_next_file(tmp_path: Path) -> None:
    files = RestartedLogFiles(tmp_path)
    assert files.first() is None
    for name in (
        "0.log.20261123-000001",
        "0.log",
        "1.log.20261123-000002.gz",
        "1.log.20261123-000003",
        "10.log",
        "2.log",
        "x.log",
        "1.log.tmp",
    ):
        (tmp_path / name).touch()
    assert files.current().name == "10.log"
    assert [path.name for path in files._paths()] == [
        *(
            "0.log.20261123-000001",
            "0.log",
            "1.log.20261123-000002.gz",
            "1.log.20261123-000003",
            "2.log",
            "10.log",
        ),
    ]
