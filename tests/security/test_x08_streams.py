"""X8: one user opens as many live logs and downloads as the gateway serves."""

import asyncio
import socket
from pathlib import Path
from urllib.parse import urlsplit

from tests.harness.waiting import until
from tests.integration.gateway.history import History
from tests.integration.gateway.serving import Serving, make_settings, serving
from tests.integration.gateway.test_logs import Printing, Watcher


async def streams_are(served: Serving, count: int) -> None:
    async def reached() -> bool:
        return served.gateway.streams.count == count

    await until(reached, within=20, what=f"{count} open streams")


async def test_x08_one_user_can_not_keep_others_out(database_url: str, amqp_url: str, tmp_path: Path) -> None:
    async with serving(make_settings(database_url, amqp_url, tmp_path), None) as served:
        history = await History.of(served.database_url)
        printing = await Printing(served, history).begin()
        await printing.print(b"one\n")
        greedy = [Watcher(printing.owner, printing.path) for _ in range(50)]
        await streams_are(served, 50)
        for path in (f"{printing.path}/stream", printing.path):
            refused = (await printing.owner.get(path)).expect(429)
            assert refused.json["type"] == "urn:towpath:problem:too_many_streams"
            assert "TOWPATH_LIVE_STREAMS_PER_USER" in refused.json["detail"]
            assert "retry-after" in {name.lower() for name in refused.headers}
        other = Watcher(served.admin, printing.path)
        await other.sees("one")
        (await served.admin.get(printing.path)).expect(200)
        greedy.pop().task.cancel()
        await streams_are(served, 50)
        await printing.end()
        await asyncio.gather(*(watcher.ends() for watcher in [*greedy, other]))
        await streams_are(served, 0)
        await history.connection.close()


async def test_x08_downloads_that_are_not_read_count(
    database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    settings = make_settings(database_url, amqp_url, tmp_path, live_streams_per_user=2)
    async with serving(settings, None) as served:
        history = await History.of(served.database_url)
        printing = await Printing(served, history).begin()
        for _ in range(8):
            await printing.print((b"x" * 1023 + b"\n") * 1000)
        address = urlsplit(served.url)
        lines = [
            f"GET {printing.path} HTTP/1.1",
            "Host: t",
            f"Authorization: Bearer {printing.owner.token}",
            "",
            "",
        ]
        ask = "\r\n".join(lines).encode()
        deaf = [socket.socket() for _ in range(2)]
        for one in deaf:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.connect((address.hostname, address.port))
            one.sendall(ask)
        await streams_are(served, 2)
        (await printing.owner.get(printing.path)).expect(429)
        for one in deaf:
            one.close()
        await streams_are(served, 0)
        (await printing.owner.get(printing.path)).expect(200)
        await history.connection.close()
