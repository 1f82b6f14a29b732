"""The log sink: follows the logs of containers, masks and stores them in segments, and seals each when it is complete.

It is the only writer of log_streams and log_segments. It may be killed at any moment and run in several replicas, which share the streams by leases.
"""

import asyncio
from contextlib import closing
from functools import partial

from services.logsink.committer import Committer, keep
from services.logsink.consumers import on_containers
from services.logsink.doorbell import Doorbell
from services.logsink.follower import Pace
from services.logsink.opening import Followers
from services.logsink.retention import delete_expired
from services.logsink.settings import LogSinkSettings
from services.logsink.sink import Sink
from services.logsink.store import LogWork
from services.logsink.wakeups import Wakeups
from shared import topology
from shared.bus import open_bus
from shared.crypto import Keyring
from shared.db import Queries, Store, open_database
from shared.logconfig import configure_logging
from shared.outbox import OutboxRelay
from shared.reconcile import Check, Reconciler
from shared.service import Service

_MESSAGES_AT_ONCE = 100


async def main() -> None:
    settings = LogSinkSettings()
    configure_logging(settings, "logsink")
    keyring = Keyring.from_file(settings.encryption_key_file) if settings.encryption_key_file else None
    pace = Pace(settings.log_quiet_seconds, settings.log_flow_seconds, settings.log_look_seconds, settings.log_silence_seconds)
    with closing(Wakeups()) as wakeups:
        async with open_database(settings) as database, open_bus(settings, "logsink") as bus, Service("logsink", settings) as service:
            relay = OutboxRelay(database, bus, "logsink")
            store = Store(database, Queries.beside(__file__), LogWork, owner="logsink", relay=relay)
            doorbell = Doorbell(bus)
            bounds = {"most_bytes": settings.log_waiting_bytes, "most_stream_bytes": settings.log_stream_waiting_bytes}
            beat = settings.log_flow_seconds
            committer = Committer(partial(keep, store), doorbell.ring, beat_seconds=beat, **bounds)
            followers = Followers(store, committer, wakeups, keyring, pace)
            sink = Sink(store, followers.follower_of, lease_seconds=settings.log_lease_seconds, most_taken=settings.log_take_over_streams)
            forgotten = Check("attempts without log streams", partial(sink.open_forgotten, settings.reconcile_age_seconds))
            unowned = Check("log streams without an owner", sink.take_over)
            expired = Check("logs of expired runs", partial(delete_expired, store))
            service.ready_when("database", database.answers)
            service.ready_when("bus", bus.answers)
            for runnable in (relay, doorbell, committer, wakeups, sink):
                service.keep_running(runnable)
            service.keep_running(bus.consumer(topology.LOGSINK_CONTAINERS, partial(on_containers, sink), batch=_MESSAGES_AT_ONCE, beat_seconds=beat))
            service.keep_running(Reconciler([forgotten], settings.reconcile_seconds))
            service.keep_running(Reconciler([unowned], settings.log_take_over_seconds))
            service.keep_running(Reconciler([expired], settings.log_retention_seconds))
            await service.until_signalled()


if __name__ == "__main__":
    asyncio.run(main())
