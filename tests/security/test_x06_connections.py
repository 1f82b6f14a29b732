"""X6: connections that send half a request or nothing, or never read their responses."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from services.gateway.http.listener import AT_ONCE
from tests.attack.payloads import HALF_HEAD
from tests.harness.waiting import until
from tests.integration.gateway.serving import Serving, make_settings, serving

pytestmark = pytest.mark.alone("connections end after times that are measured")

WHOLE = b"GET /healthy HTTP/1.1\r\nHost: towpath\r\n\r\n"
PATIENT: dict[str, Any] = {"head_seconds": 60, "idle_seconds": 60}


@asynccontextmanager
async def gateway(database_url: str, amqp_url: str, folder: Path, **settings: Any) -> AsyncIterator[Serving]:
    async with serving(make_settings(database_url, amqp_url, folder, **settings), None) as running:
        yield running


class Attacker:
    """Opens connections and keeps them open."""

    def __init__(self, served: Serving) -> None:
        address = urlsplit(served.url)
        self._address = (address.hostname, address.port)
        self.opened: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def open(self, *parts: bytes) -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection(*self._address)
        self.opened.append((reader, writer))
        for part in parts:
            writer.write(part)
            await writer.drain()
        return reader

    def close(self) -> None:
        for _, writer in self.opened:
            writer.close()


@asynccontextmanager
async def attacking(served: Serving) -> AsyncIterator[Attacker]:
    attacker = Attacker(served)
    try:
        yield attacker
    finally:
        attacker.close()


async def rest(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.read(), 20)


@pytest.mark.parametrize(
    ("sent", "answered"),
    [((HALF_HEAD,), b" 408 "), ((HALF_HEAD, b"x"), b" 408 "), ((b"\r\n",), b" 408 "), ((), b"")],
)
async def test_x06_a_head_that_does_not_come_ends_the_connection(
    database_url: str, amqp_url: str, tmp_path: Path, sent: tuple[bytes, ...], answered: bytes
) -> None:
    async with (
        gateway(database_url, amqp_url, tmp_path, head_seconds=0.3) as served,
        attacking(served) as attacker,
    ):
        answer = await rest(await attacker.open(*sent))
        assert answered in answer.partition(b"\r\n")[0]
        assert bool(answer) == bool(answered)


async def test_x06_a_head_that_drips_ends_the_connection(
    database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    async with (
        gateway(database_url, amqp_url, tmp_path, head_seconds=0.5) as served,
        attacking(served) as attacker,
    ):
        reader = await attacker.open(HALF_HEAD)
        [(_, writer)] = attacker.opened

        async def drip() -> None:
            while True:
                writer.write(b"x")
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        head, _, body = (await rest(reader)).partition(b"\r\n\r\n")
        dripping.cancel()
        assert b" 408 " in head
        assert json.loads(body)["type"] == "urn:towpath:problem:head_too_slow"


@pytest.mark.parametrize("then", [b"", HALF_HEAD])
async def test_x06_the_next_request_has_to_come_too(
    database_url: str, amqp_url: str, tmp_path: Path, then: bytes
) -> None:
    async with (
        gateway(database_url, amqp_url, tmp_path, head_seconds=0.3, idle_seconds=0.6) as served,
        attacking(served) as attacker,
    ):
        reader = await attacker.open(WHOLE)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)
        assert b" 404 " in head
        attacker.opened[0][1].write(then)
        assert (b" 408 " in await rest(reader)) == bool(then)


async def test_x06_waiting_connections_make_room_for_real_ones(
    database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    async with (
        gateway(database_url, amqp_url, tmp_path, connections=40, **PATIENT) as served,
        attacking(served) as attacker,
    ):
        with capture_logs() as logs:
            for number in range(200):
                await attacker.open(*[(), (HALF_HEAD,)][number % 2])
                if number % 20 == 0:
                    (await served.deliver(b"{}", X_GitHub_Delivery=f"d-{number}")).expect(
                        202 if number == 0 else 200
                    )
        assert len([line for line in logs if line["event"] == "idle_connection_displaced"]) < 20
        first = attacker.opened[0][0]
        assert await rest(first) == b""


async def test_x06_where_all_are_busy_a_connection_is_refused_by_name(
    database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    slow = b"POST /webhooks/github HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
    slow += b"Content-Length: 9\r\nExpect: 100-continue\r\n"
    slow += b"X-Hub-Signature-256: sha256=" + b"0" * 64 + b"\r\n\r\n"
    async with (
        gateway(database_url, amqp_url, tmp_path, connections=5, **PATIENT) as served,
        attacking(served) as attacker,
    ):
        for _ in range(5):
            assert b" 100 " in await asyncio.wait_for((await attacker.open(slow)).readline(), 20)
        head, _, body = (await rest(await attacker.open())).partition(b"\r\n\r\n")
        assert b" 503 " in head
        assert b"Retry-After" in head
        assert json.loads(body)["type"] == "urn:towpath:problem:too_many_connections"
        assert "TOWPATH_CONNECTIONS" in json.loads(body)["detail"]


async def test_x06_a_client_that_reads_nothing_is_let_go(
    database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    ask = b"GET /openapi.json HTTP/1.1\r\nHost: towpath\r\n\r\n" * 200
    async with gateway(database_url, amqp_url, tmp_path, send_seconds=0.3, **PATIENT) as served:
        address = urlsplit(served.url)
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect((address.hostname, address.port))
            deaf.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(deaf, ask)

            async def is_reset() -> bool:
                return deaf.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) != 0

            await until(is_reset, within=20, what="the end of the connection")


async def test_x06_a_flood_of_requests_that_are_none_costs_a_line_a_second(served: Serving) -> None:
    def lines() -> int:
        return len([line for line in logs if line["event"] == "request_not_read"])

    async with attacking(served) as attacker:

        async def told() -> bool:
            assert b" 400 " in await asyncio.wait_for(
                (await attacker.open(b"no http\r\n\r\n")).readline(), 20
            )
            return lines() > 0

        with capture_logs() as logs:
            await until(told, within=20, what="a line, where another test may have had the last second's")
            for _ in range(100):
                await told()
    assert lines() <= 60


async def test_x06_connections_that_can_not_be_accepted_cost_a_line_a_second(
    served: Serving, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = asyncio.get_running_loop()
    context = {
        "message": "socket.accept() out of system resource",
        "exception": OSError(24, "Too many open files"),
    }
    with capture_logs() as logs:
        for _ in range(1000):
            loop.call_exception_handler(context)
    assert len([line for line in logs if line["event"] == "connection_not_accepted"]) == 1
    assert "Traceback" not in "".join(capsys.readouterr())
    (await served.admin.get("/users/me")).expect(200)


async def test_x06_a_connection_costs_a_request_handler_only_with_a_request(served: Serving) -> None:
    runner = served.runner
    assert runner.server is not None
    handlers, count = len(runner.server.connections), runner.connections.count
    async with attacking(served) as attacker:
        for number in range(20):
            await attacker.open(*[(), (HALF_HEAD,)][number % 2])

        async def are_counted() -> bool:
            return runner.connections.count == count + 20

        await until(are_counted, within=20, what="20 connections more")
        assert len(runner.server.connections) == handlers
        reader, writer = attacker.opened[1]
        writer.write(b"y\r\n\r")
        writer.write(b"\n")
        assert b" 415 " in await asyncio.wait_for(reader.readline(), 20)
        assert len(runner.server.connections) == handlers + 1


async def test_x06_what_is_no_http_is_answered_at_once(served: Serving) -> None:
    async with attacking(served) as attacker:
        for sent in (b"\x16\x03\x01\x02\x00\x01", b"lower /", b"GET " + b"x" * 9000):
            assert await asyncio.wait_for((await attacker.open(sent)).readline(), 5)


async def test_x06_a_flood_of_connections_is_accepted_in_slices(served: Serving) -> None:
    """Between the slices, the event loop answers other requests."""
    count = served.runner.connections.count
    place = urlsplit(served.url)
    opened = [socket.create_connection((place.hostname, place.port)) for _ in range(10 * AT_ONCE)]
    seen = [served.runner.connections.count - count]
    while seen[-1] < len(opened):
        await asyncio.sleep(0)
        seen.append(served.runner.connections.count - count)
    for one in opened:
        one.close()
    assert max(after - before for before, after in pairwise(seen)) <= AT_ONCE
