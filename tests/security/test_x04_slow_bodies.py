"""X4: outsiders who send bodies slowly or never finish them."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.attack.payloads import BODY_SIZES, MEBIBYTE, head_of_body
from tests.harness.waiting import until
from tests.integration.gateway.serving import Serving, make_settings, serving

pytestmark = pytest.mark.alone("bodies are slow by the clock")


@asynccontextmanager
async def gateway(database_url: str, amqp_url: str, folder: Path, **settings: Any) -> AsyncIterator[Serving]:
    values = {"body_memory_bytes": 64 * MEBIBYTE, "body_seconds": 60, **settings}
    async with serving(make_settings(database_url, amqp_url, folder, **values), None) as running:
        yield running


class Attacker:
    """A connection with a body that never ends."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.dripping: asyncio.Task[None] | None = None

    @classmethod
    async def begin(cls, served: Serving, size: int, sent: int, address: str = "127.0.0.1") -> "Attacker":
        to = urlsplit(served.url)
        attacker = cls(*await asyncio.open_connection(to.hostname, to.port, local_addr=(address, 0)))
        attacker.writer.write(head_of_body(size))
        attacker.dripping = asyncio.create_task(attacker.send(sent))
        return attacker

    async def send(self, sent: int) -> None:
        try:
            for at in range(0, sent, 256 << 10):
                self.writer.write(b"x" * min(256 << 10, sent - at))
                await self.writer.drain()
        except ConnectionError:
            return

    async def answer(self) -> tuple[int, Any]:
        top = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 30)
        length = next(
            int(line.split(b":")[1])
            for line in top.split(b"\r\n")
            if line.lower().startswith(b"content-length")
        )
        return int(top.split()[1]), json.loads(await asyncio.wait_for(self.reader.readexactly(length), 30))

    async def end(self) -> None:
        assert self.dripping is not None
        self.dripping.cancel()
        await asyncio.gather(self.dripping, return_exceptions=True)
        self.writer.transport.abort()


@asynccontextmanager
async def attackers(
    served: Serving, sizes: list[int], address: str = "127.0.0.1"
) -> AsyncIterator[list[Attacker]]:
    """Open one connection for each size. All but one byte is sent, as far as the gateway reads it."""
    found = [await Attacker.begin(served, size, size - 1, address) for size in sizes]
    await asyncio.wait([one.dripping for one in found if one.dripping], timeout=1)
    try:
        yield found
    finally:
        for one in found:
            await one.end()


def body(size: int) -> bytes:
    return b'{"x": "' + b"x" * (size - 9) + b'"}'


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"])
async def test_x04_webhooks_of_any_size_are_accepted_during_the_attack(
    database_url: str, amqp_url: str, tmp_path: Path, address: str
) -> None:
    async with (
        gateway(database_url, amqp_url, tmp_path) as served,
        attackers(served, BODY_SIZES * 7, address),
    ):
        for number, size in enumerate([20, 1000, 100_000, MEBIBYTE, 3 * MEBIBYTE, 25 * MEBIBYTE]):
            (await served.deliver(body(size), X_GitHub_Delivery=f"d-{number}")).expect(202)


async def test_x04_small_bodies_have_a_reserve(database_url: str, amqp_url: str, tmp_path: Path) -> None:
    """A large body that arrives fast enough is never displaced; small ones are accepted beside it at once."""
    async with gateway(database_url, amqp_url, tmp_path) as served:
        with served.gateway.memory.share("127.0.0.1") as share:
            served.gateway.memory.count(share, 48 * MEBIBYTE)
            (await served.deliver(body(900_000))).expect(202)


async def test_x04_large_bodies_wait_for_each_other(database_url: str, amqp_url: str, tmp_path: Path) -> None:
    async with gateway(database_url, amqp_url, tmp_path) as served:
        sent = [
            served.deliver(body(25 * MEBIBYTE + number - 8), X_GitHub_Delivery=f"d-{number}")
            for number in range(5)
        ]
        assert [answer.status for answer in await asyncio.gather(*sent)] == [202] * 5


@pytest.mark.parametrize("sent", [0, 1, 100_000])
async def test_x04_a_body_below_the_rate_is_given_up(
    database_url: str, amqp_url: str, tmp_path: Path, sent: int
) -> None:
    async with gateway(database_url, amqp_url, tmp_path) as served:
        attacker = await Attacker.begin(served, MEBIBYTE, sent)
        status, problem = await attacker.answer()
        await attacker.end()
    assert (status, problem["type"]) == (408, "urn:towpath:problem:too_slow")
    assert "TOWPATH_BODY_BYTES_PER_SECOND" in problem["detail"]


async def test_x04_a_large_body_holds_no_memory_before_its_first_bytes(
    database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    async with gateway(database_url, amqp_url, tmp_path) as served:
        before = served.gateway.memory.free_bytes
        attacker = await Attacker.begin(served, 25 * MEBIBYTE, 0)
        (await served.deliver(b"{}")).expect(202)
        assert served.gateway.memory.free_bytes == before
        await attacker.end()


async def test_x04_who_is_displaced_is_told_the_limit(
    database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    async with (
        gateway(database_url, amqp_url, tmp_path, body_bytes_per_second=1) as served,
        attackers(served, [25 * MEBIBYTE]) as [slow],
    ):
        (await served.deliver(body(25 * MEBIBYTE))).expect(202)
        status, problem = await slow.answer()
    assert status == 503
    assert "TOWPATH_BODY_MEMORY_BYTES" in problem["detail"]


async def test_x04_all_memory_is_free_after_the_attack(
    database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    async with gateway(database_url, amqp_url, tmp_path) as served:
        before = served.gateway.memory.free_bytes
        async with attackers(served, BODY_SIZES * 3) as found:
            pass
        assert found
        (await served.deliver(b"{}")).expect(202)

        async def is_free() -> bool:
            return served.gateway.memory.free_bytes == before

        await until(is_free, within=20, what="all memory is free")
