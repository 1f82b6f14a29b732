"""Tests of one fault at a time, each named by its number in docs/guarantees.md.

Every accepted push becomes one run, whose user code starts once.
"""

import asyncio
import time

import asyncpg
import pytest

from devstack import processes
from shared.database import migrate
from tests.chaos import broker_faults, database_faults
from tests.chaos.faults import HOUR_SECONDS, SKEW, Break
from tests.chaos.proxy import Mode
from tests.chaos.pushing import Pushes
from tests.chaos.world import REPLICAS, World
from tests.harness.waiting import until

pytestmark = pytest.mark.timeout(240)

OUTAGE_SECONDS = 8
"""The length of an outage. A longer outage, such as ten minutes, would test the same.

Publishers and consumers try again every few seconds, and nothing gives up in between.
"""
SERVICES_OF_A_RUN = ("scheduler", "executor", "logsink")


async def test_f06_every_run_starts_after_an_outage_of_the_broker(world: World, pushes: Pushes) -> None:
    await pushes.prepare()
    async with broker_faults.killed(world):
        for _ in range(10):
            (await pushes.send()).expect(202)
            await asyncio.sleep(OUTAGE_SECONDS / 10)  # the length of the outage is part of the test
    await pushes.each_ran_once(within=60)


@pytest.mark.alone("measures time")
async def test_f07_an_alarm_of_the_broker_leaves_acceptance_alone(world: World, pushes: Pushes) -> None:
    await pushes.prepare()
    async with broker_faults.alarmed(world):
        for _ in range(5):
            started = time.monotonic()
            (await pushes.send()).expect(202)
            assert time.monotonic() - started < 2
    await pushes.each_ran_once(within=60)


async def test_f08_an_exchange_and_its_bindings_deleted_by_an_operator_are_restored(
    world: World, pushes: Pushes
) -> None:
    await pushes.prepare()
    async with broker_faults.bindings_deleted(world):
        await pushes.deliver(3)
    await pushes.each_ran_once(within=60)
    async with broker_faults.exchange_deleted(world):
        await pushes.deliver(3)
    await pushes.each_ran_once(within=60)


@pytest.mark.parametrize("service", ["gateway", *SERVICES_OF_A_RUN])
async def test_f13_sigterm_in_the_middle_of_the_work_ends_in_order_and_hands_back(
    world: World, pushes: Pushes, service: str
) -> None:
    await pushes.prepare("sleep 0.2")
    sending = asyncio.create_task(pushes.deliver(20))
    await pushes.user_code_runs()
    codes = []
    for replica in REPLICAS:
        process = world.stack.process(service, replica)
        assert process is not None
        child = processes._children[process.pid]
        await asyncio.to_thread(world.stack.stop, service, replica)
        codes.append(child.returncode)
    for replica in REPLICAS:
        await world.start((service, replica))
        await world.ready((service, replica))
    await sending
    assert codes == [0, 0]
    await pushes.each_ran_once()


@pytest.mark.parametrize("service", ["gateway", *SERVICES_OF_A_RUN])
async def test_f14_a_commit_whose_answer_is_lost_has_one_effect(
    world: World, pushes: Pushes, service: str
) -> None:
    """Statements reach Postgres and their answers do not return. Then the connections break."""
    await pushes.prepare("sleep 0.3")
    sending = asyncio.create_task(pushes.deliver(10))
    await pushes.user_code_runs()
    for replica in REPLICAS:
        world.database_proxies[service, replica].become(Mode.DEAF)
    await pushes.deliver(3)
    for replica in REPLICAS:
        world.database_proxies[service, replica].become(Mode.PASS)
    await sending
    await pushes.each_ran_once()


async def test_f16_queues_deleted_under_their_consumers_are_consumed_again(
    world: World, pushes: Pushes
) -> None:
    await pushes.prepare()
    async with broker_faults.queues_deleted(world):
        await pushes.deliver(3)
    await pushes.each_ran_once(within=30)


@pytest.mark.parametrize("server", ["postgres", "broker"])
async def test_f18_half_open_connections_are_noticed_and_replaced(
    world: World, pushes: Pushes, server: str
) -> None:
    await pushes.prepare()
    proxies = world.database_proxies if server == "postgres" else world.broker_proxies
    for service in SERVICES_OF_A_RUN:
        proxies[service, 1].become(Mode.HOLD)
    await pushes.deliver(6)
    await pushes.each_ran_once(within=45)  # by the other replicas, whose connections are good
    for service in SERVICES_OF_A_RUN:
        proxies[service, 1].become(Mode.PASS)
    for service in SERVICES_OF_A_RUN:
        await asyncio.to_thread(world.stack.kill, service, 2)
    await pushes.deliver(3)
    await pushes.each_ran_once(within=45)  # by those whose connections were half-open, without a restart


async def test_f31_a_paused_executor_beside_a_working_one_changes_nothing_when_it_goes_on(
    world: World, pushes: Pushes
) -> None:
    await pushes.prepare("sleep 1")
    await pushes.deliver(6)
    await pushes.user_code_runs()
    world.stack.pause("executor", 1)
    await pushes.deliver(3)
    try:
        await pushes.each_ran_once(
            within=100
        )  # paused within a transaction, it keeps its locks for 30 s: `database_idle_transaction_seconds`
    finally:
        world.stack.resume("executor", 1)
    before = [tuple(run.values()) for run in await pushes.runs()]
    await pushes.deliver(2)
    await pushes.each_ran_once()
    assert [tuple(run.values()) for run in await pushes.runs()][: len(before)] == before


@pytest.mark.parametrize("seconds", [-HOUR_SECONDS, HOUR_SECONDS])
async def test_f32_a_clock_that_is_an_hour_off_starts_nothing_twice_and_ends_nothing_early(
    world: World, pushes: Pushes, seconds: int
) -> None:
    await pushes.prepare("sleep 1")
    for service in SERVICES_OF_A_RUN:
        await world.kill((service, 1))
        await world.start((service, 1), PYTHONPATH=str(SKEW), TOWPATH_TEST_CLOCK_SECONDS=str(seconds))
        await world.ready((service, 1))
    await pushes.deliver(12)
    await pushes.each_ran_once()
    for service in SERVICES_OF_A_RUN:
        await world.kill((service, 1))
        await world.start((service, 1))
        await world.ready((service, 1))


async def test_f35_sixty_mebibytes_at_once_are_stored_whole(world: World, pushes: Pushes) -> None:
    count = 60 * 2**20 // 100
    await pushes.prepare(f"head -c {count * 99} /dev/zero | tr '\\0' x | fold -w 99; echo")
    await pushes.deliver()
    await pushes.each_ran_once(within=90)
    [run] = await pushes.runs()
    assert await pushes.log(run["id"]) == (b"x" * 99 + b"\n") * count


async def test_f57_terminated_backends_have_no_lost_and_no_doubled_effect(
    world: World, pushes: Pushes
) -> None:
    await pushes.prepare("sleep 0.3")
    sending = asyncio.create_task(pushes.deliver(20))
    for _ in range(5):
        async with database_faults.backends_terminated(world):
            await asyncio.sleep(0.2)
    await sending
    await pushes.each_ran_once()


async def test_f57_without_connections_webhooks_are_accepted_and_run_later(
    world: World, pushes: Pushes
) -> None:
    await pushes.prepare()
    async with database_faults.out_of_connections(world):
        await pushes.deliver(3)
    await pushes.each_ran_once(within=60)


@pytest.mark.parametrize(
    "fault", [database_faults.disk_full, database_faults.deadlocks], ids=["disk full", "deadlocks"]
)
async def test_f57_writes_that_postgres_refuses_for_a_while_are_made_later(
    world: World, pushes: Pushes, fault: Break
) -> None:
    await pushes.prepare("sleep 0.3")
    sending = asyncio.create_task(pushes.deliver(10))
    await pushes.user_code_runs()
    async with fault(world):
        await pushes.deliver(5)
        await asyncio.sleep(2)  # the length of the fault is part of the test
    await sending
    await pushes.each_ran_once()


@pytest.mark.parametrize(
    "fault", [database_faults.file_system_full, database_faults.log_full], ids=["tables", "tables and log"]
)
async def test_a_disk_of_postgres_that_is_truly_full_only_delays(
    world: World, pushes: Pushes, fault: Break
) -> None:
    if world.disk is None:
        pytest.skip("mounting a disk takes root")
    await pushes.prepare("sleep 0.3")
    sending = asyncio.create_task(pushes.deliver(10))
    await pushes.user_code_runs()
    async with fault(world):
        await pushes.deliver(5)
        if fault is database_faults.file_system_full:
            with pytest.raises(asyncpg.DiskFullError):
                await a_table_grows(world)
        await asyncio.sleep(2)  # the length of the fault is part of the test
    await sending
    await pushes.each_ran_once(within=60)
    if fault is database_faults.log_full:  # there was no room in this file for the PANIC message itself
        assert "automatic recovery in progress" in (world.postgres.directory / "postgres.log").read_text()


async def a_table_grows(world: World) -> None:
    async with world.database() as connection:
        await connection.execute(
            "CREATE TABLE grown AS SELECT repeat('x', 1000) FROM generate_series(1, 10000)"
        )


async def test_f57_tables_that_stay_locked_only_delay(world: World, pushes: Pushes) -> None:
    await pushes.prepare()
    async with database_faults.locked(world):
        await pushes.deliver(3)
    await pushes.each_ran_once()


async def test_f58_a_migration_during_traffic_loses_nothing(
    world: World, pushes: Pushes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer migration changes tables while this release uses them; then some services restart."""
    await pushes.prepare("sleep 0.2")
    known = migrate.migrations()
    expansion = (
        "ALTER TABLE jobs ADD COLUMN of_the_next_release text; CREATE INDEX of_the_next_release ON jobs "
        "(of_the_next_release);"
    )
    monkeypatch.setattr(
        migrate, "migrations", lambda: [*known, migrate.Migration(len(known) + 1, "next_release", expansion)]
    )
    sending = asyncio.create_task(pushes.deliver(20))
    await pushes.user_code_runs()
    assert await migrate.migrate(world.stack.database_url) == ["next_release"]
    for service in SERVICES_OF_A_RUN:
        await asyncio.to_thread(world.stack.stop, service, 1)
        await world.start((service, 1))
    await sending
    await pushes.each_ran_once()
    for service in SERVICES_OF_A_RUN:
        await world.ready((service, 1))


async def test_f65_what_ended_while_postgres_was_away_keeps_its_true_verdict_past_every_deadline(
    world: World, pushes: Pushes
) -> None:
    """The time limits of the run and the job pass while Postgres is away. The script ended before them."""
    await pushes.prepare("sleep 1", run={"timeout": "5s"}, timeout="5s")
    await pushes.deliver(2)
    await pushes.user_code_runs(2)
    async with database_faults.killed(world):
        await asyncio.sleep(7)  # longer than every deadline
    await pushes.each_ran_once(within=90)


async def test_every_queue_but_the_inlet_may_be_emptied_again_and_again(world: World, pushes: Pushes) -> None:
    """P4: queues are purged while runs are in progress.

    The work of the lost messages is done within 30 seconds.
    """
    await pushes.prepare("sleep 0.5")
    sending = asyncio.create_task(pushes.deliver(10))
    for _ in range(10):
        async with broker_faults.queues_purged(world):
            await asyncio.sleep(0.3)
    await sending
    await pushes.each_ran_once(within=30)


async def test_messages_that_come_twice_and_late_change_nothing(world: World, pushes: Pushes) -> None:
    await pushes.prepare()
    await pushes.deliver(5)
    await pushes.each_ran_once()
    async with broker_faults.messages_doubled(world), broker_faults.messages_poisoned(world):
        await pushes.deliver(5)
    await pushes.each_ran_once()


@pytest.mark.alone("measures time")
async def test_with_postgres_and_the_broker_away_the_answer_is_503_in_time(
    world: World, pushes: Pushes
) -> None:
    await pushes.prepare()
    async with database_faults.paused(world), broker_faults.paused(world):
        started = time.monotonic()
        answer = (await pushes.send()).expect(503)
        assert time.monotonic() - started < 2.5
        assert int(answer.headers["retry-after"]) > 0
    await until(lambda: _accepted(pushes), within=30, what="acceptance")
    await pushes.each_ran_once(within=60)


async def _accepted(pushes: Pushes) -> bool:
    return (await pushes.send()).status == 202
