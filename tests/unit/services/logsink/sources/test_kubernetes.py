"""Tests of the Kubernetes source with an API server that fails in every way.

Every line is read once and in order, or there is a gap. An error never becomes a line.
"""

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial

import pytest

from services.logsink.sources import Source
from tests.fakes.kubernetes_logs import FakeContainer, FakeKubernetes, FakeKubernetesPod
from tests.harness.waiting import until
from tests.unit.services.logsink.sources.reading import Reader


async def test_a_good_log_costs_one_look_a_follow_and_a_last_read(
    fake: FakeKubernetes, job: FakeContainer, reader: Reader
) -> None:
    await job.prints(b"one\n")
    await reader.until(lambda: reader.text == b"one\n")
    await job.prints(b"two\n")
    await job.end()
    await reader.to_the_end()
    assert (reader.text, reader.gaps, reader.failures) == (b"one\ntwo\n", [], [])
    assert (
        fake.asked("follow=true"),
        fake.asked("/log?"),
        fake.asked("watch=true"),
        fake.asked("/pods/pod-1?") + fake.asked("/pods/pod-1 "),
    ) == (1, 2, 1, 0)
    assert len(fake.requests) == 4  # list, watch, follow, last read


async def test_nothing_is_asked_while_a_container_waits_to_begin(
    fake: FakeKubernetes, pod: FakeKubernetesPod, reader: Reader
) -> None:
    await reader.read()
    await reader.until(lambda: fake.asked("watch=true"), "the watch")
    for _ in range(5):
        await pod.report()
        await reader.source.changed(0.02)
    assert fake.asked("/log") == 0
    await pod.containers["job"].start()
    await pod.containers["job"].prints(b"one\n")
    await reader.until(lambda: reader.text == b"one\n")
    assert reader.failures == []


async def test_a_container_that_ended_before_anybody_looked_is_read_whole(
    fake: FakeKubernetes, job: FakeContainer, reader: Reader
) -> None:
    await job.prints(b"one\ntwo")
    await job.end()
    await reader.to_the_end()
    assert (reader.text, reader.gaps) == (b"one\ntwo", [])
    assert fake.asked("follow") == 0


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b"container is waiting"),
        (404, b"not found"),
        (500, b"dial tcp: refused"),
        (503, b"<html>"),
        (204, b""),
    ],
)
async def test_f38_an_answer_that_is_not_200_is_never_log_text(
    fake: FakeKubernetes, job: FakeContainer, reader: Reader, status: int, body: bytes
) -> None:
    fake.refusals = [(status, body)]
    await job.prints(b"one\n")
    await reader.until(lambda: reader.text)
    await job.end()
    await reader.to_the_end()
    assert (reader.text, reader.gaps, len(reader.failures)) == (b"one\n", [], 1)


async def test_what_the_kubelet_writes_where_a_log_should_be_is_no_log_text(
    fake: FakeKubernetes, job: FakeContainer, reader: Reader
) -> None:
    fake.refusals = [
        (200, b"unable to retrieve container logs for containerd://c"),
        (200, b"failed to create fsnotify watcher: too many open files\n"),
    ]
    await job.prints(b"one\n")
    await reader.until(lambda: reader.text)
    await job.end()
    await reader.to_the_end()
    assert (reader.text, reader.gaps) == (b"one\n", [])
    assert any("fsnotify" in failure for failure in reader.failures)


async def test_an_error_in_the_middle_of_a_log_ends_before_it(
    fake: FakeKubernetes, job: FakeContainer, reader: Reader
) -> None:
    await job.prints(b"one\ntwo\n")
    stamps = [stamp for stamp, _ in job.records]
    fake.refusals = [(200, stamps[0] + b" one\nfailed to watch directory: no space left on device\n")]
    await reader.until(lambda: reader.text == b"one\ntwo\n")
    assert reader.gaps == []


@pytest.mark.parametrize(
    "body",
    [
        b'container "job" in pod "pod-1" is not available',
        b"unable to retrieve container logs for containerd://c",
    ],
)
async def test_a_log_that_is_refused_again_and_again_after_the_end_is_a_gap(
    fake: FakeKubernetes, job: FakeContainer, reader: Reader, body: bytes
) -> None:
    fake.refusals = [(400 if body.startswith(b"container") else 200, body)] * 4
    await job.end()
    await reader.to_the_end()
    assert reader.text == b""
    assert len(reader.gaps) == 1
    assert "can't be read" in reader.gaps[0]


@pytest.mark.parametrize("refusals", [[(400, b"pod cannot be found")] * 3, [(403, b"forbidden")] * 4])
async def test_a_kubelet_that_was_just_started_and_a_right_that_is_missing_are_no_evidence(
    fake: FakeKubernetes, job: FakeContainer, reader: Reader, refusals: list[tuple[int, bytes]]
) -> None:
    await job.prints(b"one\n")
    await job.end()
    fake.refusals = refusals
    await reader.to_the_end()
    assert (reader.text, reader.gaps) == (b"one\n", [])


def has_read(reader: Reader, text: bytes) -> bool:
    return reader.text == text


async def test_cut_connections_lose_nothing_and_double_nothing(
    fake: FakeKubernetes, job: FakeContainer, reader: Reader
) -> None:
    printed = b""
    for number in range(6):
        fake.cuts = number % 3
        text = b"".join(b"line %d of %d %s\n" % (line, number, b"x" * (line % 7)) for line in range(200))
        await job.prints(text)
        printed += text
        await reader.until(partial(has_read, reader, printed))
        if number % 2:
            await reader.restart()
    await job.prints(b"no line feed")
    await job.end()
    fake.cuts = 1
    await reader.to_the_end()
    assert (reader.text, reader.gaps) == (printed + b"no line feed", [])


async def test_a_server_that_is_away_is_waited_for(
    fake: FakeKubernetes, job: FakeContainer, reader: Reader
) -> None:
    fake.is_away = True
    await job.prints(b"one\n")
    await reader.until(lambda: reader.failures, "a failure")
    fake.is_away = False
    await job.end()
    await reader.to_the_end()
    assert (reader.text, reader.gaps) == (b"one\n", [])


async def test_an_end_of_the_stream_is_no_end_of_the_container(
    fake: FakeKubernetes, job: FakeContainer, reader: Reader
) -> None:
    await job.prints(b"one\n")
    await reader.until(lambda: reader.text)
    running = job.state
    await job.end(reported=False)  # the kubelet ends its response, but the pod's status does not show an end
    job.state = running
    await job.prints(b"two\n")
    await reader.until(lambda: reader.text == b"one\ntwo\n")
    assert not reader.has_ended
    await job.end()
    await reader.to_the_end()
    assert (reader.text, reader.gaps) == (b"one\ntwo\n", [])


async def test_a_file_rotated_away_between_two_connections_is_a_gap(
    job: FakeContainer, reader: Reader
) -> None:
    await job.prints(b"one\n")
    await reader.until(lambda: reader.text)
    await reader.source.close()
    await job.prints(b"lost\n")
    await job.rotate()
    await job.prints(b"two\n")
    await reader.restart()
    await reader.until(lambda: b"two" in reader.text)
    await job.end()
    await reader.to_the_end()
    assert reader.text == b"one\ntwo\n"
    assert reader.gaps == ["the log was rotated before it was read"]


async def test_an_empty_newest_file_at_the_end_is_a_gap(job: FakeContainer, reader: Reader) -> None:
    await job.prints(b"one\n")
    await reader.until(lambda: reader.text)
    await reader.source.close()
    await job.rotate()
    await job.end()
    await reader.restart()
    await reader.to_the_end()
    assert (reader.text, reader.gaps) == (b"one\n", ["the log was rotated before it was read"])


async def test_a_service_that_is_started_again_goes_on_without_a_gap(
    job: FakeContainer, reader: Reader
) -> None:
    await job.prints(b"one\n")
    await reader.until(lambda: reader.text)
    await reader.source.close()
    await job.prints(b"two\nunended")
    await job.end()
    await job.start()
    await job.prints(b"three\n")
    await reader.restart()
    await reader.until(lambda: b"three" in reader.text)
    await job.end()
    await reader.to_the_end()
    assert (reader.text, reader.gaps) == (b"one\ntwo\nunended\nthree\n", [])


async def test_one_that_was_started_again_too_often_has_a_gap(job: FakeContainer, reader: Reader) -> None:
    for text in (b"one\n", b"two\n", b"three\n"):
        if job.state.get("terminated"):
            await job.start()
        await job.prints(text)
        await job.end()
    await reader.to_the_end()
    assert (reader.text, len(reader.gaps)) == (b"three\n", 1)


async def test_a_log_waits_for_its_turn_where_follows_are_bounded(
    pod: FakeKubernetesPod, job: FakeContainer, readers: Callable[..., Reader], reader: Reader
) -> None:
    await job.prints(b"one\n")
    await reader.until(lambda: reader.text)
    await pod.containers["clone"].start()
    await pod.containers["clone"].prints(b"cloned\n")
    other = readers("clone")
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(other.until(lambda: other.text), 0.5)
    assert other.text == b""
    await job.end()
    await reader.to_the_end()
    await other.until(lambda: other.text == b"cloned\n")


async def test_what_is_not_read_waits_in_the_stream(
    fake: FakeKubernetes, job: FakeContainer, reader: Reader
) -> None:
    line = b"x" * 9_999 + b"\n"
    await job.prints(line * 2000)
    await reader.source.read()
    inbox = reader.source._inbox

    async def is_full() -> bool:
        return inbox.held_bytes >= 1 << 20

    await until(is_full, within=10, what="a full inbox")
    assert inbox.held_bytes < 2 << 20
    await job.end()
    await reader.to_the_end()
    assert (len(reader.text), reader.gaps) == (20_000_000, [])


async def test_closing_leaves_no_task_behind(job: FakeContainer, reader: Reader) -> None:
    await reader.read()
    source: Source = reader.source
    await source.close()
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("log of")]
