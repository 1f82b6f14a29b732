"""One event starts one run, and user code starts once, despite repetitions and killed services."""

import asyncio
import secrets
from typing import Any
from uuid import uuid4

import pytest

from tests.harness.github import FakeRepository, push
from tests.harness.installation import Towpath, one_job
from tests.harness.scenes import outcome_of
from tests.harness.waiting import until

pytestmark = pytest.mark.pods("pods are made and claimed while services die")

NUMBERED = """\
{mark}
i=0
while [ $i -lt 1000 ]; do
  i=$((i + 1))
  echo "line $i"
  [ $((i % 10)) -ne 0 ] || sleep 0.1
done
"""


async def test_f03_a_delivery_sent_fifty_times_at_once_starts_one_run(towpath: Towpath) -> None:
    person = await towpath.person()
    repository = await towpath.repository(person)
    oracle = towpath.oracle()
    pipeline = await towpath.pipeline(person, one_job(repository, oracle.append("$TOWPATH_SHA")))
    payload = push(repository)
    delivery_id = str(uuid4())

    answers = await asyncio.gather(*(towpath.deliver(payload, delivery_id=delivery_id) for _ in range(50)))

    assert sorted(answer.status for answer in answers) == [200] * 49 + [202]
    assert {answer.json["delivery_id"] for answer in answers} == {delivery_id}
    run = await towpath.only_run(pipeline)
    assert run["status"] == "success"
    assert oracle.lines == [payload["after"]]
    delivery = (await towpath.admin.get(f"/deliveries/{delivery_id}")).expect(200).json
    assert delivery["outcome"] == "event"


async def test_f04_a_body_replayed_under_a_new_delivery_id_is_the_first_delivery(towpath: Towpath) -> None:
    person = await towpath.person()
    repository = await towpath.repository(person)
    oracle = towpath.oracle()
    pipeline = await towpath.pipeline(person, one_job(repository, oracle.append("$TOWPATH_SHA")))
    payload = push(repository)

    first = (await towpath.deliver(payload)).expect(202).json["delivery_id"]
    again = (await towpath.deliver(payload)).expect(200).json

    assert again == {"delivery_id": first, "status": "duplicate"}
    await towpath.only_run(pipeline)
    assert oracle.lines == [payload["after"]]


async def test_a11_a_push_before_the_registration_runs_once_when_it_is_delivered_again(
    towpath: Towpath,
) -> None:
    person = await towpath.person()
    repository = FakeRepository(f"octo/repo-{secrets.token_hex(5)}")
    oracle = towpath.oracle()
    pipeline = await towpath.pipeline(person, one_job(repository, oracle.append("$TOWPATH_SHA")))
    payload = push(repository)
    delivery_id = str(uuid4())
    (await towpath.deliver(payload, delivery_id=delivery_id)).expect(202)
    assert (await outcome_of(towpath, delivery_id))["outcome"] == "unknown_repository"

    await towpath.register(repository, person)
    answers = await asyncio.gather(*(towpath.deliver(payload, delivery_id=delivery_id) for _ in range(2)))

    assert [answer.expect(200).json["status"] for answer in answers] == ["duplicate"] * 2
    run = await towpath.only_run(pipeline)
    assert (run["status"], run["sha"]) == ("success", payload["after"])
    assert oracle.lines == [payload["after"]]
    assert (await outcome_of(towpath, delivery_id))["outcome"] == "event"


@pytest.mark.parametrize("service", ["gateway", "scheduler", "executor", "logsink"])
async def test_a_run_survives_the_kill_of_a_service(own_towpath: Towpath, service: str) -> None:
    """The service is down for two seconds in the middle of a job of ten seconds.

    The job prints 1,000 numbered lines.
    """
    towpath = own_towpath
    person = await towpath.person()
    repository = await towpath.repository(person)
    oracle = towpath.oracle()
    pipeline = await towpath.pipeline(
        person, one_job(repository, NUMBERED.format(mark=oracle.append("$TOWPATH_ATTEMPT")))
    )
    await towpath.deliver_push(repository)
    run = await towpath.run_of(pipeline)

    async def printed_some() -> bool:
        return b"line 200\n" in await towpath.log(run["id"], "only")

    await until(lambda: _true(oracle.lines), within=15, what="user code")
    await until(printed_some, within=15, what="200 lines")
    await asyncio.to_thread(towpath.stack.kill, service)
    await asyncio.sleep(2)  # the length of the outage is part of the test
    await towpath.restart(service)

    run = await towpath.finished(run["id"], within=40, sealed=True)
    assert run["status"] == "success"
    assert await towpath.log(run["id"], "only") == b"".join(
        b"line %d\n" % number for number in range(1, 1001)
    )
    assert oracle.lines == ["1"]


async def test_two_replicas_of_everything_start_a_run_once(own_towpath: Towpath) -> None:
    towpath = own_towpath
    for service in ("gateway", "scheduler", "executor", "logsink"):
        await asyncio.to_thread(towpath.stack.start, service, 2)
    for service in ("gateway", "scheduler", "executor", "logsink"):
        await asyncio.to_thread(towpath.stack.wait_ready, service, 2)
    person = await towpath.person()
    repository = await towpath.repository(person)
    oracle = towpath.oracle()
    pipeline = await towpath.pipeline(person, one_job(repository, oracle.append("$TOWPATH_SHA")))
    payloads = [push(repository) for _ in range(20)]

    await asyncio.gather(*(towpath.deliver(payload) for payload in payloads))

    async def all_finished() -> list[dict[str, object]] | None:
        runs = await towpath.runs(pipeline)
        return runs if len(runs) == 20 and all(run["status"] == "success" for run in runs) else None

    await until(all_finished, within=40, what="twenty green runs")
    assert sorted(oracle.lines) == sorted(payload["after"] for payload in payloads)


async def test_runs_of_a_pipeline_are_numbered_without_a_gap(towpath: Towpath) -> None:
    person = await towpath.person()
    repository = await towpath.repository(person)
    pipeline = await towpath.pipeline(person, one_job(repository, f"echo {secrets.token_hex(3)}"))

    await asyncio.gather(*(towpath.deliver_push(repository) for _ in range(5)))

    async def five() -> list[dict[str, Any]] | None:
        runs = await towpath.runs(pipeline)
        return runs if len(runs) == 5 else None

    runs = await until(five, within=20, what="five runs")
    assert sorted(run["number"] for run in runs) == [1, 2, 3, 4, 5]


async def _true(value: object) -> object:
    return value
