"""A TCP proxy between two parts, which passes bytes on as well or as badly as it is told.

Every connection goes through one listener, so one word changes how all of them fare. What was held back is
never delivered late: the end of a bad time cuts the connections that lived through it, as a network does that
has forgotten them.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import StrEnum
from urllib.parse import urlsplit


class Mode(StrEnum):
    """What happens to bytes."""

    PASS = "pass"
    REFUSE = "refuse"
    """Connections are cut, new ones too."""
    HOLD = "hold"
    """Half-open: nothing is answered, nothing is closed, new connections are taken and lead nowhere."""
    DELAY = "delay"
    TRUNCATE = "truncate"
    """The next answer arrives half, then the connection is cut."""
    DEAF = "deaf"
    """Requests arrive, answers do not: what was asked for happens, and who asked does not learn it."""


_ENDS_CONNECTIONS = {Mode.REFUSE, Mode.HOLD, Mode.TRUNCATE, Mode.DEAF}
_CHUNK_BYTES = 65536


class Proxy:
    """Use `open_proxy`."""

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
        """From now on.

        Leaving a mode in which bytes were lost, and going into REFUSE, cuts all connections.
        """
        before, self._mode, self._delay_seconds = self._mode, mode, delay_seconds
        if before in _ENDS_CONNECTIONS or mode is Mode.REFUSE:
            self.cut()
        self._changed.set()
        self._changed = asyncio.Event()

    def cut(self) -> None:
        """Reset every connection; new ones are made as the mode says."""
        for writer in list(self._writers):
            writer.transport.abort()

    def strand(self) -> None:
        """Connections that are open lead nowhere from now on, and are never closed; new ones work."""
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
    """The same address, reached through the proxy."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{proxy.port}").geturl()


@asynccontextmanager
async def open_proxy(url: str) -> AsyncIterator[Proxy]:
    """A proxy to the server of this address, passing everything on, while the block lasts."""
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
