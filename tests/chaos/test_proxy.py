"""Tests of the proxy's modes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.chaos.proxy import Mode, Proxy, open_proxy, through


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """Open a proxy to a server that answers each line with the same line."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            heard.append(line)
            writer.write(line)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with open_proxy(f"tcp://u:p@127.0.0.1:{server.sockets[0].getsockname()[1]}/x") as opened:
        heard.clear()
        yield opened
    server.close()


heard: list[bytes] = []


@asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def said(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes = b"hello\n") -> bytes:
    """Send a line and return the answer.

    Returns empty bytes if the connection ends. Raises TimeoutError if there is no answer.
    """
    try:
        writer.write(line)
        async with asyncio.timeout(0.5):
            return await reader.readline()
    except ConnectionError:
        return b""


async def test_it_passes_everything_on(proxy: Proxy) -> None:
    async with connected(proxy) as ends:
        assert await said(*ends) == b"hello\n"


async def test_it_cuts_what_is_open_and_what_is_opened(proxy: Proxy) -> None:
    async with connected(proxy) as ends:
        assert await said(*ends) == b"hello\n"
        proxy.become(Mode.REFUSE)
        assert await said(*ends) == b""
    async with connected(proxy) as ends:
        assert await said(*ends) == b""
    proxy.become(Mode.PASS)
    async with connected(proxy) as ends:
        assert await said(*ends) == b"hello\n"


async def test_half_open_means_silence_and_then_an_end(proxy: Proxy) -> None:
    async with connected(proxy) as ends, connected(proxy) as late:
        assert await said(*ends) == b"hello\n"
        proxy.become(Mode.HOLD)
        for each in (ends, late):
            with pytest.raises(TimeoutError):
                await said(*each)
        proxy.become(Mode.PASS)
        assert await said(*ends) == b""


async def test_deaf_means_that_requests_arrive_and_answers_do_not(proxy: Proxy) -> None:
    async with connected(proxy) as ends:
        assert await said(*ends) == b"hello\n"
        proxy.become(Mode.DEAF)
        with pytest.raises(TimeoutError):
            await said(*ends, b"commit\n")
        assert heard[-1] == b"commit\n"
        proxy.become(Mode.PASS)
        assert await said(*ends) == b""


async def test_a_truncated_answer_is_half_and_the_last(proxy: Proxy) -> None:
    async with connected(proxy) as (reader, writer):
        proxy.become(Mode.TRUNCATE)
        writer.write(b"12345678\n")
        async with asyncio.timeout(2):
            assert await reader.read() == b"1234"


async def test_stranded_connections_stay_open_and_say_nothing_while_new_ones_work(proxy: Proxy) -> None:
    async with connected(proxy) as old:
        assert await said(*old) == b"hello\n"
        proxy.strand()
        with pytest.raises(TimeoutError):
            await said(*old)
        async with connected(proxy) as new:
            assert await said(*new) == b"hello\n"


async def test_a_slow_network_loses_nothing(proxy: Proxy) -> None:
    proxy.become(Mode.DELAY, delay_seconds=0.05)
    async with connected(proxy) as ends:
        assert await said(*ends) == b"hello\n"


def test_the_address_through_a_proxy_keeps_user_and_path() -> None:
    passing = Proxy("127.0.0.1", 5432)
    passing.port = 7777
    assert (
        through("postgresql://u:p@127.0.0.1:5432/x?y=1", passing) == "postgresql://u:p@127.0.0.1:7777/x?y=1"
    )
