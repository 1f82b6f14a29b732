"""Die at every crash point there is, one after the other: every accepted delivery still becomes one run whose user code starts once."""

import asyncio
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from devstack.stack import SERVICES
from tests.chaos.points import Point, every_name, names_in, points_of
from tests.chaos.proxy import open_proxy, through
from tests.chaos.walking import Walk
from tests.e2e.conftest import installation

PASSAGES = {
    ("scheduler", "store.before_commit"): 4,
    ("scheduler", "store.committed_not_handed_over"): 4,
    ("scheduler", "consuming.handled_not_acked"): 3,
    ("executor", "store.before_commit"): 2,
    ("executor", "store.committed_not_handed_over"): 2,
    ("logsink", "consuming.handled_not_acked"): 2,
}
"""How often one delivery passes a point, where it is more than once: decided, admitted, begun and ended; claimed and ended; told of both."""

FAILED_RUNS = 6
WALKED = ("executor",) if os.environ.get("TOWPATH_TEST_BACKEND") == "kubernetes" else SERVICES
"""What runs jobs makes a difference to the executor alone."""
POINTS = {service: points_of(service) for service in SERVICES}


only_once = pytest.mark.skipif(WALKED != SERVICES, reason="what runs jobs makes a difference to the executor alone")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("service", WALKED)
async def test_a_service_that_dies_at_any_crash_point_loses_and_doubles_nothing(service: str, database_url: str, amqp_url: str) -> None:
    assert await wrong_after(service, POINTS[service], database_url, amqp_url) == []


@only_once
async def test_f01_the_gateway_killed_between_signature_and_commit(database_url: str, amqp_url: str) -> None:
    assert await wrong_after("gateway", [Point("gateway", "gateway.verified_not_stored")], database_url, amqp_url) == []


@only_once
async def test_f02_the_gateway_killed_between_commit_and_answer(database_url: str, amqp_url: str) -> None:
    assert await wrong_after("gateway", [Point("gateway", "gateway.stored_not_answered")], database_url, amqp_url) == []


@only_once
async def test_f09_the_scheduler_killed_between_confirm_and_mark(database_url: str, amqp_url: str) -> None:
    assert await wrong_after("scheduler", [Point("scheduler", "outbox.published_not_marked")], database_url, amqp_url) == []


@only_once
async def test_f11_the_scheduler_killed_before_its_commit(database_url: str, amqp_url: str) -> None:
    assert await wrong_after("scheduler", [Point("scheduler", "store.before_commit")], database_url, amqp_url) == []


@only_once
async def test_f12_the_scheduler_killed_between_commit_and_acknowledgement(database_url: str, amqp_url: str) -> None:
    assert await wrong_after("scheduler", [Point("scheduler", "consuming.handled_not_acked")], database_url, amqp_url) == []


async def test_f19_the_executor_killed_before_it_makes_the_object(database_url: str, amqp_url: str) -> None:
    assert await wrong_after("executor", [Point("executor", "executor.inserted_not_created")], database_url, amqp_url) == []


async def test_f20_the_executor_killed_after_it_made_the_object(database_url: str, amqp_url: str) -> None:
    assert await wrong_after("executor", [Point("executor", "executor.created_not_claimed")], database_url, amqp_url) == []


async def wrong_after(service: str, points: Sequence[Point], database_url: str, amqp_url: str) -> list[str]:
    """What is wrong when the service has died at each passage of each of these points, a line each."""
    quick = {"TOWPATH_RECONCILE_SECONDS": "1", "TOWPATH_RECONCILE_AGE_SECONDS": "1"}
    async with open_proxy(database_url) as proxy, installation(database_url, amqp_url, **quick) as towpath:
        walk = Walk(towpath, through(database_url, proxy), proxy)
        await walk.prepare(FAILED_RUNS if len(points) > 1 and service in {"gateway", "scheduler"} else 0)
        await asyncio.to_thread(towpath.stack.kill, service)
        for point in points:
            for passage in range(1, PASSAGES.get((service, point.name), 1) + 1):
                await walk.die_at(point, passage)
        await walk.start(service)
        await asyncio.to_thread(towpath.stack.wait_ready, service)  # the proxy of the gateway's database runs in this loop
        return await walk.outcome()


def test_every_crash_point_has_a_name_of_its_own() -> None:
    names = [name for _, name in every_name()]
    assert len(names) > 15
    assert [name for name, count in Counter(names).items() if count > 1] == []
    assert [name for name in names if not re.fullmatch(r"[a-z]+\.[a-z_]+", name)] == []


def test_a_point_of_shared_code_belongs_to_every_service() -> None:
    assert {Point(service, "consuming.handled_not_acked") for service in SERVICES} <= {point for points in POINTS.values() for point in points}


def test_a_crash_point_whose_name_is_made_up_while_running_is_refused(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('crashpoint("a.known_place")\ncrashpoint(f"a.{where}")\n')
    with pytest.raises(ValueError, match="literal"):
        names_in(module)
