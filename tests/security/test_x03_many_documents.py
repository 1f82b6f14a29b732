"""X3: a user with a read-only token sends many large documents for validation at the same time.

Each document has thousands of errors.
"""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.gateway.pipeline_reader import Busy, PipelineReader
from shared.errors import Transient
from shared.pipeline.errors import PipelineInvalid
from tests.attack.payloads import MANY_MISTAKES
from tests.harness.client import Answer, Client
from tests.harness.waiting import until
from tests.integration.gateway.serving import PIPELINE, Serving, make_settings, serving

SMALL = PIPELINE.format(repository="octo/web")
ENDLESS = "import time\ntime.sleep(3600)"
"""A worker that hangs and never answers."""


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def webhooks(served: Serving, name: str, stop: asyncio.Event | None = None) -> list[float]:
    """Deliver webhooks one after the other, 30 or until `stop` is set. Return the seconds of each."""
    taken: list[float] = []
    while len(taken) < 30 if stop is None else not stop.is_set():
        began = time.perf_counter()
        sent = await served.deliver(
            b'{"zen": "%b"}' % name.encode(), X_GitHub_Delivery=f"{name}-{len(taken)}"
        )
        taken.append(time.perf_counter() - began)
        sent.expect(202 if len(taken) == 1 else 200)
    return taken


async def validate(client: Client, text: str) -> Answer:
    return await client.post("/pipelines/validate", {"yaml_config": text})


@pytest.mark.alone("webhooks are timed")
async def test_x03_webhooks_are_answered_while_documents_are_checked(served: Serving) -> None:
    _, reader = await served.person(scopes=("read",))
    assert 110_000 < len(MANY_MISTAKES) < 130_000
    (await validate(reader, MANY_MISTAKES)).expect(200)
    quiet = percentile(await webhooks(served, "quiet"), 0.99)
    done = asyncio.Event()
    measured = asyncio.create_task(webhooks(served, "attack", done))
    answers = await asyncio.gather(*(validate(reader, MANY_MISTAKES) for _ in range(30)))
    done.set()
    attacked = percentile(await measured, 0.99)
    assert {answer.status for answer in answers} == {200, 503}
    for answer in answers:
        if answer.status == 503:
            assert answer.json["type"] == "urn:towpath:problem:too_many_checks"
            assert "TOWPATH_PIPELINE_CHECKS_PER_USER" in answer.json["detail"]
            assert int(answer.headers["retry-after"]) >= 1
    assert attacked <= max(0.25, 3 * quiet), (quiet, attacked)


async def test_x03_one_user_does_not_fill_the_queue_for_others(
    database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    settings = make_settings(database_url, amqp_url, tmp_path, pipeline_checks=8, pipeline_checks_per_user=4)
    async with serving(settings, None) as served:
        _, greedy = await served.person(scopes=("read",))
        attack = [asyncio.create_task(validate(greedy, MANY_MISTAKES)) for _ in range(30)]
        (await validate((await served.person())[1], SMALL)).expect(200)
        statuses = [(await one).status for one in attack]
        assert statuses.count(200) >= 4
        assert statuses.count(503) >= 1


@pytest.mark.parametrize(("method", "path"), [("POST", "/pipelines"), ("PUT", "/pipelines/{id}")])
async def test_x03_saving_uses_the_same_queue(
    database_url: str, amqp_url: str, tmp_path: Path, method: str, path: str
) -> None:
    settings = make_settings(database_url, amqp_url, tmp_path, pipeline_checks_per_user=1)
    async with serving(settings, None) as served:
        _, user = await served.person()
        path = path.format(id=(await served.pipeline(user))["id"])
        asked = [
            user.request(method, path, {"name": f"n{number}", "yaml_config": MANY_MISTAKES})
            for number in range(8)
        ]
        statuses = [answer.status for answer in await asyncio.gather(*asked)]
        assert set(statuses) == {422, 503}


@asynccontextmanager
async def reading(
    processes: int = 1, seconds: float = 60, command: tuple[str, ...] | None = None
) -> AsyncIterator[PipelineReader]:
    reader = PipelineReader(processes=processes, checks=4, checks_per_user=3, seconds=seconds)
    if command is not None:
        reader.command = command
    try:
        yield reader
    finally:
        await reader.close()


def workers() -> Iterator[int]:
    """Yield the workers of this test's process. A gateway that other tests share may have others."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
            command = stat.with_name("cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == os.getpid() and b"pipeline_worker" in command and fields[0] != "Z":
            yield int(stat.parent.name)


def environment_of(process: int) -> str:
    return Path(f"/proc/{process}/environ").read_text()


async def test_x03_a_document_is_read_in_another_process() -> None:
    others = set(workers())
    async with reading() as reader:
        definition = await reader.read(SMALL, user_id=1)
        assert definition.model["repositories"] == ["octo/web"]
        assert list(definition.repository_keys) == ["octo/web"]
        with pytest.raises(PipelineInvalid) as caught:
            await reader.read("a: 1\n", user_id=1)
        assert "unknown_key" in {problem.code for problem in caught.value.problems}
        (worker,) = set(workers()) - others
        assert os.getpriority(os.PRIO_PROCESS, worker) > os.getpriority(
            os.PRIO_PROCESS, 0
        )  # webhooks have priority
        assert "TOWPATH" not in environment_of(worker)
    assert set(workers()) == others


async def test_x03_no_more_processes_than_asked_for() -> None:
    others = set(workers())
    async with reading(processes=2) as reader:
        await asyncio.gather(*(reader.read(SMALL, user_id=number) for number in range(4)))
        assert len(set(workers()) - others) == 2


async def test_x03_the_queue_is_bounded_for_all_and_for_each_user() -> None:
    async with reading() as reader:
        held = [asyncio.create_task(reader.read(MANY_MISTAKES, user_id=1)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Busy, match="TOWPATH_PIPELINE_CHECKS_PER_USER"):
            await reader.read(SMALL, user_id=1)
        held.append(asyncio.create_task(reader.read(MANY_MISTAKES, user_id=2)))
        await asyncio.sleep(0)
        with pytest.raises(Busy, match=r"TOWPATH_PIPELINE_CHECKS\)"):
            await reader.read(SMALL, user_id=3)
        ends = await asyncio.gather(*held, return_exceptions=True)
        assert {type(end) for end in ends} == {PipelineInvalid}
        await reader.read(SMALL, user_id=1)


async def test_x03_a_worker_that_hangs_is_replaced() -> None:
    async with reading(seconds=0.2, command=(sys.executable, "-c", ENDLESS)) as reader:
        with pytest.raises(Transient):
            await reader.read(SMALL, user_id=1)
        reader.command = PipelineReader.command
        reader.seconds = 60
        await reader.read(SMALL, user_id=1)


async def test_x03_a_worker_that_was_killed_is_replaced() -> None:
    others = set(workers())
    async with reading() as reader:
        await reader.read(SMALL, user_id=1)
        for worker in set(workers()) - others:
            os.kill(worker, 9)

        async def are_gone() -> bool:
            return set(workers()) == others

        await until(are_gone, within=20, what="the killed worker is gone")
        await reader.read(SMALL, user_id=1)


async def test_x03_a_request_that_is_given_up_leaves_no_answer_for_the_next() -> None:
    async with reading() as reader:
        await reader.read(SMALL, user_id=1)
        given_up = asyncio.create_task(reader.read(MANY_MISTAKES, user_id=1))
        await asyncio.sleep(0.01)
        given_up.cancel()
        await asyncio.gather(given_up, return_exceptions=True)
        assert (await reader.read(SMALL, user_id=1)).model["version"] == 1
