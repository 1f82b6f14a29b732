"""The scheduler: creates runs from forge events, admits their jobs, and records what executors report.

This module starts its consumers, reconcilers and the admission task. The scheduler is the only writer of
events, decisions, runs, jobs and transitions. It may be killed at any moment and may run in several replicas.
"""

import asyncio

from services.scheduler.admission import Admission, Limits
from services.scheduler.approvals import Forks
from services.scheduler.consumers import Consumers
from services.scheduler.reconciler import Checks
from services.scheduler.revisions import Revisions
from services.scheduler.settings import SchedulerSettings
from services.scheduler.store import open_store
from shared.database.store import open_database
from shared.logconfig import configure_logging
from shared.messaging import topology
from shared.messaging.bus import open_bus
from shared.messaging.outbox import OutboxRelay
from shared.reconcile import Reconciler
from shared.service import Service


async def main() -> None:
    settings = SchedulerSettings()
    configure_logging(settings, "scheduler")
    async with (
        open_database(settings) as database,
        open_bus(settings, "scheduler") as bus,
        Service("scheduler", settings) as service,
    ):
        relay = OutboxRelay(database, bus, owner="scheduler")
        store = open_store(database, relay)
        admission = Admission(
            store, Limits(settings.global_limit, settings.repository_limit), settings.cluster
        )
        forks = Forks(settings.backend == "kubernetes", settings.approval_seconds)
        consumers = Consumers(store, Revisions(pattern_steps=settings.pattern_steps), admission, forks)
        service.ready_when("database", database.answers)
        service.keep_running(relay)
        service.keep_running(admission)
        linger_seconds = settings.linger_seconds
        service.keep_running(
            bus.consumer(
                topology.SCHEDULER_DELIVERIES,
                consumers.on_deliveries,
                batch=settings.delivery_batch,
                linger_seconds=linger_seconds,
            )
        )
        service.keep_running(
            bus.consumer(
                topology.SCHEDULER_ATTEMPTS,
                consumers.on_attempt_facts,
                batch=settings.fact_batch,
                linger_seconds=linger_seconds,
            )
        )
        service.keep_running(bus.consumer(topology.SCHEDULER_COMMANDS, consumers.on_commands, batch=16))
        service.keep_running(
            Reconciler(Checks(store, consumers, admission, settings).checks(), settings.reconcile_seconds)
        )
        await service.until_signalled()


if __name__ == "__main__":
    asyncio.run(main())
