"""A TCP proxy between two parts, with faults that a test can switch on.

All connections go through one listener, so a mode applies to all of them. Bytes that were held back are never
delivered late: the end of a mode that loses or holds bytes cuts the connections that were open during it, as
a network does that has lost their state.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from urllib.parse import urlsplit


class Mode(StrEnum):
    """The treatment of bytes and connections."""

    PASS = "pass"
    REFUSE = "refuse"
    """Connections are cut, new ones too."""
    HOLD = "hold"
    """Half-open: nothing is answered or closed. New connections are accepted but do not reach the server."""
    DELAY = "delay"
    TRUNCATE = "truncate"
    """Half of the next answer arrives, then the connection is cut."""
    DEAF = "deaf"
    """Requests arrive, answers do not: the server acts, and the client does not learn of it."""


_ENDS_CONNECTIONS = {Mode.REFUSE, Mode.HOLD, Mode.TRUNCATE, Mode.DEAF}
_CHUNK_BYTES = 65536


class Proxy:
    """A proxy to one server. Use `open_proxy`."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._mode = Mode.PASS
        self._delay_seconds = 0.0
        self._changed = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._stranded: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def become(self, mode: Mode, *, delay_seconds: float = 0.0) -> None:
        """Switch to this mode.

        Entering `REFUSE`, and leaving a mode that loses or holds bytes, cuts all connections.
        """
        before, self._mode, self._delay_seconds = self._mode, mode, delay_seconds
        if before in _ENDS_CONNECTIONS or mode is Mode.REFUSE:
            self.cut()
        self._changed.set()
        self._changed = asyncio.Event()

    def cut(self) -> None:
        """Reset every connection. New connections are possible if the mode allows them."""
        for writer in list(self._writers):
            writer.transport.abort()

    def strand(self) -> None:
        """Stop passing bytes on the open connections, without closing them. New connections work."""
        self._stranded |= self._writers

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._join(reader, writer)
        except OSError:
            pass
        finally:
            self._tasks.discard(task)
            self._writers.discard(writer)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while self._mode is Mode.HOLD:
            await self._changed.wait()
        if self._mode is Mode.REFUSE or writer.transport.is_closing():
            return
        there_reader, there_writer = await asyncio.open_connection(*self._target)
        self._writers.add(there_writer)
        pumps = [
            asyncio.create_task(self._pump(reader, there_writer, is_answer=False)),
            asyncio.create_task(self._pump(there_reader, writer, is_answer=True)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self._writers.discard(there_writer)
            there_writer.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool
    ) -> None:
        while data := await reader.read(_CHUNK_BYTES):
            while self._mode is Mode.HOLD or writer in self._stranded:
                await self._changed.wait()
            if self._mode is Mode.DEAF and is_answer:
                continue
            if self._mode is Mode.TRUNCATE and is_answer:
                writer.write(data[: len(data) // 2])
                await writer.drain()
                return
            if self._mode is Mode.DELAY:
                await asyncio.sleep(self._delay_seconds)
            writer.write(data)
            await writer.drain()

    async def close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def through(url: str, proxy: Proxy) -> str:
    """Return the same address, reached through the proxy."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}").geturl()


@asynccontextmanager
async def open_proxy(url: str) -> AsyncIterator[Proxy]:
    """Open a proxy to the server of this address. It passes everything on until its mode is changed."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    proxy = Proxy(parts.hostname, parts.port)
    server = await proxy.start()
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                await server.wait_closed()
