"""Tests of a run's watch: notifications advance it, and it reads the database only if needed."""

import asyncio

from services.gateway.logs.live_logs import LogState, Watch
from services.gateway.logs.log_lines import Stream
from shared.statuses import Status

STREAM = Stream(1, "test", 1, "job", "nonce")


class Rows:
    """A fake store. The test sets its answers."""

    def __init__(self) -> None:
        self.checks = 0
        self.next_line = 1
        self.status = "running"

    def reading(self) -> "Rows":
        return self

    async def __aenter__(self) -> "Rows":
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def log_state(self, _run_id: int) -> dict[str, object]:
        self.checks += 1
        await asyncio.sleep(0)
        return {"status": self.status, "reason": None, "is_sealed": False}

    async def log_streams(self, _run_id: int) -> list[dict[str, object]]:
        return [
            {
                "id": 1,
                "job": "test",
                "attempt": 1,
                "container": "job",
                "creation_token": "token",
                "next_line": self.next_line,
            }
        ]


async def state(watch: Watch, rows: Rows) -> LogState:
    found = await watch.state(rows)  # type: ignore[arg-type]  # the part of a store that a watch uses
    assert found is not None
    return found


async def test_many_who_ask_at_once_cost_one_look() -> None:
    watch, rows = Watch(7), Rows()
    await asyncio.gather(*(state(watch, rows) for _ in range(10)))
    assert rows.checks == 1


async def test_a_notification_for_a_known_stream_costs_no_check() -> None:
    watch, rows = Watch(7), Rows()
    await state(watch, rows)
    watch.appended(1, 5)
    await state(watch, rows)
    assert rows.checks == 1
    assert watch.next_line(STREAM) == 5


async def test_a_notification_that_overtakes_a_check_is_not_lost() -> None:
    watch, rows = Watch(7), Rows()
    checking = asyncio.create_task(state(watch, rows))
    await asyncio.sleep(0)
    watch.appended(1, 9)
    await checking
    assert watch.next_line(STREAM) == 9


async def test_an_unknown_stream_or_a_change_is_a_reason_to_look() -> None:
    watch, rows = Watch(7), Rows()
    await state(watch, rows)
    watch.appended(2, 3)
    await state(watch, rows)
    watch.changed()
    await state(watch, rows)
    assert rows.checks == 3


async def test_a_seal_matters_only_to_a_run_that_is_over() -> None:
    watch, rows = Watch(7), Rows()
    await state(watch, rows)
    watch.sealed()
    await state(watch, rows)
    assert rows.checks == 1
    rows.status = Status.FAILED
    watch.changed()
    await state(watch, rows)
    watch.sealed()
    await state(watch, rows)
    assert rows.checks == 3


async def test_a_waiter_is_woken_by_what_came_since() -> None:
    watch = Watch(7)
    version = watch.version
    watch.wake()
    await asyncio.wait_for(watch.heard_since(version, 60), 1)
    waiting = asyncio.create_task(watch.heard_since(watch.version, 60))
    await asyncio.sleep(0)
    watch.wake()
    await asyncio.wait_for(waiting, 1)
