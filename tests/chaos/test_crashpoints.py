"""Kill a service at each crash point, one after the other.

Every accepted delivery still becomes one run whose user code starts once.
"""

import asyncio
import re
from collections import Counter
from pathlib import Path

import pytest

from devstack.stack import SERVICES
from tests.chaos.points import Point, every_name, names_in, points_of
from tests.chaos.proxy import open_proxy, through
from tests.chaos.walking import Walk
from tests.e2e.conftest import installation

pytestmark = pytest.mark.timeout(400)

PASSAGES = {
    ("scheduler", "store.before_commit"): 4,
    ("scheduler", "store.committed_not_handed_over"): 4,
    ("scheduler", "consuming.handled_not_acked"): 3,
    ("executor", "store.before_commit"): 2,
    ("executor", "store.committed_not_handed_over"): 2,
    ("logsink", "consuming.handled_not_acked"): 2,
}
"""The number of times that one delivery passes a point, if more than once.

The scheduler decides, admits, starts and ends. The executor claims and ends. The log sink handles the
messages about both.
"""

FAILED_RUNS = 6
POINTS = {service: points_of(service) for service in SERVICES}

_walked: dict[str, list[str]] = {}
"""The errors found by the walk of each service. One walk serves all tests of a service."""


def of_pods(service: str) -> list[pytest.MarkDecorator]:
    return [pytest.mark.pods("the executor makes pods")] if service == "executor" else []


@pytest.mark.parametrize("service", [pytest.param(name, marks=of_pods(name)) for name in SERVICES])
async def test_a_service_that_dies_at_any_crash_point_loses_and_doubles_nothing(
    service: str, database_url: str, amqp_url: str
) -> None:
    assert await wrong_after(service, database_url, amqp_url) == []


async def test_f01_the_gateway_killed_between_signature_and_commit(database_url: str, amqp_url: str) -> None:
    assert await wrong_at(Point("gateway", "gateway.verified_not_stored"), database_url, amqp_url) == []


async def test_f02_the_gateway_killed_between_commit_and_answer(database_url: str, amqp_url: str) -> None:
    assert await wrong_at(Point("gateway", "gateway.stored_not_answered"), database_url, amqp_url) == []


async def test_f09_the_scheduler_killed_between_confirm_and_mark(database_url: str, amqp_url: str) -> None:
    assert await wrong_at(Point("scheduler", "outbox.published_not_marked"), database_url, amqp_url) == []


async def test_f11_the_scheduler_killed_before_its_commit(database_url: str, amqp_url: str) -> None:
    assert await wrong_at(Point("scheduler", "store.before_commit"), database_url, amqp_url) == []


async def test_f12_the_scheduler_killed_between_commit_and_acknowledgement(
    database_url: str, amqp_url: str
) -> None:
    assert await wrong_at(Point("scheduler", "consuming.handled_not_acked"), database_url, amqp_url) == []


@pytest.mark.pods("the executor makes pods")
async def test_f19_the_executor_killed_before_it_makes_the_object(database_url: str, amqp_url: str) -> None:
    assert await wrong_at(Point("executor", "executor.inserted_not_created"), database_url, amqp_url) == []


@pytest.mark.pods("the executor makes pods")
async def test_f20_the_executor_killed_after_it_made_the_object(database_url: str, amqp_url: str) -> None:
    assert await wrong_at(Point("executor", "executor.created_not_claimed"), database_url, amqp_url) == []


async def wrong_at(point: Point, database_url: str, amqp_url: str) -> list[str]:
    """Return the errors of the requests that were sent while the service died at this point."""
    assert point in POINTS[point.service]
    found = await wrong_after(point.service, database_url, amqp_url)
    return [line for line in found if line.startswith(f"{point}: ")]


async def wrong_after(service: str, database_url: str, amqp_url: str) -> list[str]:
    """Return the errors after the service has died at each passage of each of its points.

    Each error is a line that begins with the point.
    """
    if service not in _walked:
        _walked[service] = await walk(service, database_url, amqp_url)
    return _walked[service]


async def walk(service: str, database_url: str, amqp_url: str) -> list[str]:
    quick = {"TOWPATH_RECONCILE_SECONDS": "1", "TOWPATH_RECONCILE_AGE_SECONDS": "1"}
    async with open_proxy(database_url) as proxy, installation(database_url, amqp_url, **quick) as towpath:
        on_the_way = Walk(towpath, through(database_url, proxy), proxy)
        await on_the_way.prepare(FAILED_RUNS if service in {"gateway", "scheduler"} else 0)
        await asyncio.to_thread(towpath.stack.kill, service)
        for point in POINTS[service]:
            for passage in range(1, PASSAGES.get((service, point.name), 1) + 1):
                await on_the_way.die_at(point, passage)
        await on_the_way.start(service)
        await asyncio.to_thread(
            towpath.stack.wait_ready, service
        )  # in a thread: the proxy of the gateway's database runs in this loop
        return await on_the_way.outcome()


def test_every_crash_point_has_a_name_of_its_own() -> None:
    names = [name for _, name in every_name()]
    assert len(names) > 15
    assert [name for name, count in Counter(names).items() if count > 1] == []
    assert [name for name in names if not re.fullmatch(r"[a-z]+\.[a-z_]+", name)] == []


def test_a_point_of_shared_code_belongs_to_every_service() -> None:
    assert {Point(service, "consuming.handled_not_acked") for service in SERVICES} <= {
        point for points in POINTS.values() for point in points
    }


def test_a_crash_point_whose_name_is_made_up_while_running_is_refused(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('crashpoint("a.known_place")\ncrashpoint(f"a.{where}")\n')
    with pytest.raises(ValueError, match="literal"):
        names_in(module)
