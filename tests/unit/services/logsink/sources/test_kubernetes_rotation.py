"""Tests of the Kubernetes source when the kubelet rotates the log, which it does not report.

The source reads again where it may have missed a file. If the lines are not there, it is a gap.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from types import SimpleNamespace

import pytest

from services.logsink.sources import kubernetes
from tests.fakes.kubernetes_logs import FakeContainer, FakeKubernetes
from tests.unit.services.logsink.sources.reading import Reader

ROTATED = "the log was rotated before it was read"
STEP = b"::towpath-0123456789abcdef::begin 1 test\n"
SECOND_STEP = b"::towpath-0123456789abcdef::begin 2 test\n"


class Clock:
    """The source's clock, in seconds since the test began."""

    def __init__(self) -> None:
        self.began = float(int(time.time()))
        self.now = 0.0
        self.reads = 0

    def time(self) -> float:
        self.reads += 1
        return self.began + self.now

    def stamp(self, second: float) -> bytes:
        return datetime.fromtimestamp(self.began + second, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(kubernetes, "time", SimpleNamespace(time=made.time))
    return made


@pytest.fixture
async def long_log(readers: Callable[..., Reader]) -> Reader:
    """Return a reader of a log in which every file is large enough to be rotated."""
    return readers(rotated_bytes=1)


async def late(job: FakeContainer, clock: Clock, long_log: Reader, printed: float) -> None:
    """Give the log a line of second 0, which is read at once, and a line that is first read at second 20."""
    job.records = [(clock.stamp(0), b"zero\n")]
    await long_log.until(lambda: long_log.text == b"zero\n")
    clock.now = 20
    job.records.append((clock.stamp(printed), b"one, read late\n"))
    await job.wake()


def has_lines(log: Reader, count: int) -> bool:
    return log.text.count(b"\n") == count


@pytest.mark.parametrize("is_passed_over", [False, True])
async def test_where_a_file_may_have_been_passed_over_the_newest_one_is_asked(
    fake: FakeKubernetes, job: FakeContainer, clock: Clock, long_log: Reader, is_passed_over: bool
) -> None:
    await late(job, clock, long_log, printed=1)
    await long_log.until(lambda: b"late" in long_log.text)
    if is_passed_over:
        job.records.append((clock.stamp(5), b"never read\n"))
        await job.rotate(missed=True)
    job.records.append((clock.stamp(19), b"two\n"))
    await job.wake()
    await long_log.until(lambda: b"two" in long_log.text)
    assert (long_log.text, long_log.gaps) == (
        b"zero\none, read late\ntwo\n",
        [ROTATED] if is_passed_over else [],
    )
    assert fake.asked("follow=true") == (3 if is_passed_over else 2)


async def test_a_container_that_is_quiet_is_not_asked_about(
    fake: FakeKubernetes, job: FakeContainer, clock: Clock, long_log: Reader
) -> None:
    for second in range(0, 100, 10):
        clock.now = second
        job.records.append((clock.stamp(second), b"line\n"))
        await job.wake()
        await long_log.until(partial(has_lines, long_log, second // 10 + 1))
    assert (long_log.gaps, fake.asked("follow=true")) == ([], 1)


async def test_a_line_read_late_before_a_silence_is_asked_about_before_its_file_is_rotated(
    fake: FakeKubernetes, job: FakeContainer, clock: Clock, long_log: Reader
) -> None:
    await late(job, clock, long_log, printed=18)
    # Each response reads the clock when it is requested, and once for each of its lines: two lines, then
    # the second line again.
    await long_log.until(lambda: fake.asked("follow=true") == 2 and clock.reads >= 5, "another follow")
    clock.now = 40
    await job.rotate()
    job.records.append((clock.stamp(40), b"two\n"))
    await job.wake()
    await long_log.until(lambda: b"two" in long_log.text)
    assert (long_log.text, long_log.gaps, fake.asked("follow=true")) == (
        b"zero\none, read late\ntwo\n",
        [],
        2,
    )


@pytest.mark.parametrize(
    ("first", "gaps"),
    [
        (b"", [ROTATED]),
        (STEP, []),
        (b"sh: warning\n" + STEP, []),
        (SECOND_STEP, []),
        (b"text\n" + SECOND_STEP, [ROTATED]),
    ],
)
async def test_the_log_of_steps_that_does_not_begin_with_a_step_has_lost_its_beginning(
    job: FakeContainer, readers: Callable[..., Reader], first: bytes, gaps: list[str]
) -> None:
    reader = readers(has_steps=True)
    await job.prints(STEP + b"lost\n")
    await job.rotate()
    await job.prints(first + b"one\n")
    await reader.until(lambda: b"one" in reader.text)
    assert (reader.text, reader.gaps) == (first + b"one\n", gaps)
    await reader.restart()
    await job.prints(b"two\n")
    await job.end()
    await reader.to_the_end()
    assert (reader.text, reader.gaps) == (first + b"one\ntwo\n", gaps)


async def test_steps_that_print_nothing_have_lost_nothing(
    job: FakeContainer, readers: Callable[..., Reader]
) -> None:
    reader = readers(has_steps=True)
    await job.end()
    await reader.to_the_end()
    assert (reader.text, reader.gaps) == (b"", [])
