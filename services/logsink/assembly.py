"""Assembly of what a log sink and a node agent share: store, committer, notifications and leases."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from services.logsink.committer import Committer, keep
from services.logsink.follower import Pace
from services.logsink.notifications import Notifications
from services.logsink.opening import Followers, SourceOf
from services.logsink.settings import LogSinkSettings
from services.logsink.sink import Sink
from services.logsink.sources import End
from services.logsink.store import LogStore, LogWork, Reach
from shared.crypto import Keyring
from shared.database.store import Database, Queries, Store
from shared.messaging.bus import Bus
from shared.messaging.outbox import OutboxRelay
from shared.service import Runnable


@dataclass(frozen=True, slots=True)
class LogSink:
    """The parts of one process. The caller keeps `runnables` running."""

    store: LogStore
    sink: Sink
    followers: Followers
    runnables: tuple[Runnable, ...]

    async def seal(self, stream_id: int, end: End) -> int:
        """Ends a stream that nobody owns; returns how many streams that were. Raises Transient."""
        return await self.sink.take_over_stream(stream_id, self.followers.ending(end))


def assembled(
    settings: LogSinkSettings, database: Database, bus: Bus, source_of: SourceOf, reach: Callable[[], Reach]
) -> LogSink:
    """Builds the parts. `reach` returns which logs this process can read; it is called before each search."""
    keyring = Keyring.from_file(settings.encryption_key_file) if settings.encryption_key_file else None
    pace = Pace(
        settings.log_quiet_seconds,
        settings.log_flow_seconds,
        settings.log_check_seconds,
        settings.log_silence_seconds,
    )
    relay = OutboxRelay(database, bus, "logsink")
    store = Store(database, Queries.beside(__file__), LogWork, owner="logsink", relay=relay)
    notifications = Notifications(bus)
    bounds = {
        "most_bytes": settings.log_waiting_bytes,
        "most_stream_bytes": settings.log_stream_waiting_bytes,
    }
    committer = Committer(
        partial(keep, store), notifications.ring, linger_seconds=settings.log_flow_seconds, **bounds
    )
    followers = Followers(store, committer, source_of, keyring, pace)
    sink = Sink(
        store,
        followers.follower_of,
        reach,
        lease_seconds=settings.log_lease_seconds,
        most_taken=settings.log_take_over_streams,
    )
    return LogSink(store, sink, followers, (relay, notifications, committer, sink))
