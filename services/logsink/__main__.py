"""The log sink: follows the logs of containers, stores them in masked segments, and seals complete logs.

This module starts its consumer, reconcilers and followers. The log sink is the only writer of `log_streams`
and `log_segments`. It may be killed at any moment and may run in several replicas, which share the streams by
leases.
"""

import asyncio
from contextlib import closing
from functools import partial

from services.logsink.assembly import assembled
from services.logsink.clusters import Bounds, open_clusters
from services.logsink.consumers import on_containers
from services.logsink.opening import read_here
from services.logsink.retention import delete_expired
from services.logsink.settings import LogSinkSettings
from services.logsink.store import Reach
from services.logsink.unattended import UnattendedStreams
from services.logsink.wakeups import Wakeups
from shared.database.store import open_database
from shared.logconfig import configure_logging
from shared.messaging import topology
from shared.messaging.bus import open_bus
from shared.reconcile import Check, Reconciler
from shared.service import Service

_MESSAGES_AT_ONCE = 100


async def main() -> None:
    settings = LogSinkSettings()
    configure_logging(settings, "logsink")
    bounds = Bounds(settings.log_follows, settings.kubernetes_watch_seconds)
    with closing(Wakeups()) as wakeups:
        async with (
            open_clusters(settings.clusters, bounds) as clusters,
            open_database(settings) as database,
            open_bus(settings, "logsink") as bus,
            Service("logsink", settings) as service,
        ):
            reach = Reach(files=True, clusters=tuple(clusters))
            rotated_bytes = settings.kubernetes_log_file_bytes
            source_of = read_here(wakeups, clusters, rotated_bytes, settings.log_line_bytes)
            logs = assembled(settings, database, bus, source_of, lambda: reach)
            unattended = UnattendedStreams(
                logs.store, clusters, logs.seal, silence_seconds=settings.log_silence_seconds
            )
            forgotten = Check(
                "attempts without log streams",
                partial(logs.sink.open_forgotten, settings.reconcile_age_seconds),
            )
            nobodys = Check("logs that no node agent reads", unattended.check)
            service.ready_when("database", database.answers)
            service.ready_when("bus", bus.answers)
            for runnable in (*logs.runnables, wakeups):
                service.keep_running(runnable)
            consumer = partial(
                bus.consumer, batch=_MESSAGES_AT_ONCE, linger_seconds=settings.log_flow_seconds
            )
            service.keep_running(consumer(topology.LOGSINK_CONTAINERS, partial(on_containers, logs.sink)))
            service.keep_running(Reconciler([forgotten, nobodys], settings.reconcile_seconds))
            service.keep_running(
                Reconciler(
                    [Check("log streams without an owner", logs.sink.take_over)],
                    settings.log_take_over_seconds,
                )
            )
            service.keep_running(
                Reconciler(
                    [Check("logs of expired runs", partial(delete_expired, logs.store))],
                    settings.log_retention_seconds,
                )
            )
            await service.until_signalled()


if __name__ == "__main__":
    asyncio.run(main())
