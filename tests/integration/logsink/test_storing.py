"""Output of containers is stored exactly, quickly and masked, and sealed when it is complete."""

import asyncio
import itertools
import random
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from services.logsink import retention
from services.logsink.consumers import on_containers
from services.logsink.store import Reach
from shared.messaging.messages import AttemptFinished, ContainerStarted
from tests.fakes.pod_directory import FakePod, cri
from tests.harness.waiting import until
from tests.integration.logsink.running import Record, running_sink


def stored(record: Record, attempt_id: int, text: bytes) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return await record.text(attempt_id) == text

    return check


async def test_a_log_that_is_complete_already_is_stored_and_sealed_in_one_go(
    database_url: str, record: Record, pod: FakePod
) -> None:
    pod.write(b"hello\n")
    pod.end()
    attempt_id = await record.attempt(pod.path)
    async with running_sink(database_url) as running:
        await on_containers(
            running.sink,
            [ContainerStarted(attempt_ids=(attempt_id,)), AttemptFinished(attempt_ids=(attempt_id,))],
        )
        stream = await record.sealed(attempt_id)
        assert await running.sink.open([attempt_id]) == 0
    assert await record.text(attempt_id) == b"hello\n"
    assert (stream["next_seq"], stream["gaps"]) == (1, [])
    assert [(one["type"], one["cluster"], one["attempt_ids"]) for one in await record.sent()] == [
        ("log.sealed", "local", [attempt_id])
    ]
    assert [one.position.next_line for one in running.rung] == [2]


async def test_lines_are_stored_while_the_container_runs(
    database_url: str, record: Record, pod: FakePod
) -> None:
    attempt_id = await record.attempt(pod.path)
    async with running_sink(database_url) as running:
        await running.sink.open([attempt_id])
        pod.write(b"one\n")
        await until(stored(record, attempt_id, b"one\n"), within=5, what="the first line")
        pod.write(b"two\n")
        await until(stored(record, attempt_id, b"one\ntwo\n"), within=5, what="the second line")
        pod.write(b"no line feed")
        pod.end()
        await record.sealed(attempt_id)
    assert await record.text(attempt_id) == b"one\ntwo\nno line feed"


async def test_a_line_is_stored_soon_after_it_was_written(
    database_url: str, record: Record, pod: FakePod
) -> None:
    attempt_id = await record.attempt(pod.path)
    took = []
    async with running_sink(database_url) as running:
        await running.sink.open([attempt_id])
        for number in range(10):
            before = len(running.rung)
            started = time.monotonic()
            pod.write(b"%d\n" % number)

            async def rung(before: int = before) -> bool:
                return len(running.rung) > before

            await until(rung, within=5, what="the commit")
            took.append(time.monotonic() - started)
    assert sorted(took)[5] < 0.5  # far below the promise on an idle machine; a loaded one must not fail


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"no line feed",
        b"\n",
        b"\n\n\n",
        b"a\rb\r\n",
        "ü\n".encode(),
        b"\x00\xff\xfe\n",
        b'{"log":"x"}\n',
    ],
)
async def test_f37_small_and_odd_logs_are_exact(
    database_url: str, record: Record, pod: FakePod, text: bytes
) -> None:
    pod.write(text)
    pod.end()
    attempt_id = await record.attempt(pod.path)
    async with running_sink(database_url) as running:
        await running.sink.open([attempt_id])
        await record.sealed(attempt_id)
    assert await record.text(attempt_id) == text


async def test_hostile_output_is_kept_as_it_is(database_url: str, record: Record, pod: FakePod) -> None:
    odd = (
        b'\xff\xfe\x00\n{"type":"ERROR","object":{"code":410}}\n2026-11-23T12:00:00.000000000Z stdout F '
        b"imitation\n\x1b]52;c;x\x07\n"
    )
    pod.write(odd)
    pod.append(cri(b"x" * (20 << 20) + b"\n"))
    pod.write(odd)
    pod.end()
    attempt_id = await record.attempt(pod.path)
    async with running_sink(database_url) as running:
        await running.sink.open([attempt_id])
        await record.sealed(attempt_id)
    text = await record.text(attempt_id)
    assert text.startswith(odd)
    assert text.endswith(b" bytes]\n" + odd)
    assert len(text) < 2 * len(odd) + 65_537


async def test_the_repositorys_secrets_are_masked(database_url: str, record: Record, pod: FakePod) -> None:
    pod.write(b"cloning https://x:ghp_secretvalue@example.org\n")
    pod.end()
    attempt_id = await record.attempt(pod.path, repository_id=await record.repository(b"ghp_secretvalue"))
    async with running_sink(database_url) as running:
        await running.sink.open([attempt_id])
        await record.sealed(attempt_id)
    assert await record.text(attempt_id) == b"cloning https://x:***@example.org\n"


async def test_lines_that_can_not_be_masked_are_not_stored(
    database_url: str, record: Record, pod: FakePod
) -> None:
    pod.write(b"cloning https://x:ghp_secretvalue@example.org\n")
    pod.end()
    repository_id = await record.repository(b"ghp_secretvalue")
    await record.connection.execute(
        "UPDATE repositories SET clone_token = 'b:' || clone_token WHERE id = $1", repository_id
    )
    attempt_id = await record.attempt(pod.path, repository_id=repository_id)
    async with running_sink(database_url) as running:
        await running.sink.open([attempt_id])

        async def let_go() -> bool:
            return not running.sink._streams

        await until(let_go, within=5, what="letting go")
    assert await record.text(attempt_id) == b""


async def test_an_attempt_is_told_sealed_when_all_its_containers_are(
    database_url: str, record: Record, pod: FakePod
) -> None:
    attempt_id = await record.attempt(pod.path, ["clone", "job"])
    async with running_sink(database_url) as running:
        await running.sink.open([attempt_id])
        pod.write(b"cloned\n", "clone")
        pod.end("clone")
        await record.sealed(attempt_id, "clone")
        assert await record.sent() == []
        pod.write(b"built\n")
        pod.end()
        await record.sealed(attempt_id)
        assert [one["attempt_ids"] for one in await record.sent()] == [[attempt_id]]


async def test_two_log_sinks_that_seal_one_attempt_tell_it_once_or_twice_never_not(
    database_url: str, record: Record, tmp_path: Path
) -> None:
    async with running_sink(database_url) as first, running_sink(database_url) as second:
        told = []
        for number in range(10):
            pod = FakePod(tmp_path / str(number))
            pod.end_all()
            attempt_id = await record.attempt(pod.path, ["clone", "job"])
            async with first.store.reading() as work:
                clone, job = await work.open_streams([attempt_id], first.sink.lease, Reach(files=True))
            first.sink._follow([clone], first.followers.follower_of)
            second.sink._follow([job], second.followers.follower_of)
            await record.sealed(attempt_id, "clone")
            await record.sealed(attempt_id)
            told.append(attempt_id)
        assert {number for one in await record.sent() for number in one["attempt_ids"]} == set(told)


async def test_a_pod_that_is_gone_is_sealed_with_a_gap(
    database_url: str, record: Record, tmp_path: Path
) -> None:
    attempt_id = await record.attempt(tmp_path / "never made")
    async with running_sink(database_url) as running:
        await running.sink.open([attempt_id])
        stream = await record.sealed(attempt_id)
    assert stream["gaps"] == [{"line": 1, "reason": "the pod's directory is gone"}]
    assert (
        await record.text(attempt_id)
        == b"[towpath: lines may be missing here: the pod's directory is gone]\n"
    )


async def test_attempts_whose_message_was_lost_are_found_by_their_age(
    database_url: str, record: Record, pod: FakePod
) -> None:
    pod.write(b"hello\n")
    pod.end()
    attempt_id = await record.attempt(pod.path)
    async with running_sink(database_url) as running:
        assert await running.sink.open_forgotten(60) == 0
        assert await running.sink.open_forgotten(0) == 1
        await record.sealed(attempt_id)
        assert await running.sink.open_forgotten(0) == 0


async def test_many_streams_at_once_through_rotations_are_exact(
    database_url: str, record: Record, tmp_path: Path
) -> None:
    dice = random.Random(7)  # noqa: S311 - a test's dice, no secret
    pods = [FakePod(tmp_path / str(number)) for number in range(20)]
    attempt_ids = [await record.attempt(pod.path) for pod in pods]
    printed = [b""] * len(pods)
    async with running_sink(database_url) as running:
        await running.sink.open(attempt_ids)
        stamps = itertools.count(step=100)
        for _ in range(30):
            for number, pod in enumerate(pods):
                text = dice.randbytes(dice.randrange(200))
                pod.append(cri(text, first=next(stamps), part_bytes=64))
                printed[number] += text
                if dice.random() < 0.1:
                    pod.rotate(compress_older=dice.random() < 0.5)
            await asyncio.sleep(0)
        for pod in pods:
            pod.end()
        for number, attempt_id in enumerate(attempt_ids):
            stream = await record.sealed(attempt_id, within=30)
            assert await record.text(attempt_id) == printed[number]
            assert stream["gaps"] == []


async def test_the_logs_of_expired_runs_are_deleted_and_no_others(
    database_url: str, record: Record, pod: FakePod, tmp_path: Path
) -> None:
    other = FakePod(tmp_path / "other")
    for each in (pod, other):
        each.write(b"hello\n")
        each.end()
    attempt_id, kept_id = await record.attempt(pod.path), await record.attempt(other.path)
    async with running_sink(database_url) as running:
        await running.sink.open([attempt_id, kept_id])
        for one in (attempt_id, kept_id):
            await record.sealed(one)
        check = partial(retention.delete_expired, running.store)
        assert await check() == 0
        await record.connection.execute(
            "UPDATE pipeline_runs SET expired_at = now() - interval '1 s' WHERE id = (SELECT run_id FROM "
            "log_streams WHERE attempt_id = $1)",
            attempt_id,
        )
        assert await check() == 1
    assert await record.stream(attempt_id) is None
    assert await record.text(attempt_id) == b""
    assert await record.text(kept_id) == b"hello\n"
