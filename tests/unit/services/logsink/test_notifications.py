"""Tests of the notifications about new log lines: few messages, and no delay while the broker is down."""

import asyncio

from services.logsink.notifications import Notifications
from shared.errors import Transient
from shared.messaging.messages import LogAppended
from tests.unit.services.logsink.test_committer import append


class FakeBus:
    def __init__(self) -> None:
        self.heard: list[LogAppended] = []
        self.is_away = False
        self.published = asyncio.Event()

    async def publish_transient(self, message: LogAppended) -> None:
        self.published.set()
        if self.is_away:
            raise Transient("away")
        self.heard.append(message)


async def test_streams_share_a_message_and_only_the_newest_line_counts() -> None:
    bus = FakeBus()
    notifications = Notifications(bus)  # type: ignore[arg-type]  # the one method it uses
    for one in (append(1, seq=0), append(2, seq=0), append(1, seq=1)):
        notifications.ring(one)
    running = asyncio.create_task(notifications.run())
    await asyncio.wait_for(bus.published.wait(), 5)
    running.cancel()
    assert [message.appended for message in bus.heard] == [((1, 1, 3), (2, 1, 2))]


async def test_a_broker_that_is_away_costs_only_the_message() -> None:
    bus = FakeBus()
    notifications = Notifications(bus)  # type: ignore[arg-type]  # the one method it uses
    running = asyncio.create_task(notifications.run())
    for is_away in (True, False):
        bus.is_away = is_away
        bus.published.clear()
        notifications.ring(append(1))
        await asyncio.wait_for(bus.published.wait(), 5)
    running.cancel()
    assert len(bus.heard) == 1
