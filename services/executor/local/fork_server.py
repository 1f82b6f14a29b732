"""The executor's side of the fork server: starts it, asks it for supervisors, and restarts it if it has died.

If the server dies before it answers, the pod may have been made, so the caller has to check.
"""

import asyncio
import contextlib
import itertools
import os
import socket
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

import orjson
import structlog

from services.executor.local.order import NETWORK, NetworkOrder, Order
from services.executor.local.server import READY
from shared.errors import Transient

_log = structlog.get_logger()
_AT_ONCE = 32
_START_SECONDS = 20.0
_ANSWER_SECONDS = 20.0
_SOURCES = Path(__file__).resolve().parents[3]


class ForkServer:
    """The client. Use it as `async with`; the server ends with the block, the supervisors do not."""

    def __init__(self) -> None:
        self._channel: socket.socket | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._starting = asyncio.Lock()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[str]] = {}

    async def __aenter__(self) -> Self:
        await self._started()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lost()
        if self._process is not None:
            await self._process.wait()

    async def supervise(self, order: Order) -> str:
        """Ask for a supervisor. Returns `made`, `taken`, or the reason why it could not be made.

        Raises Transient if there was no answer.
        """
        return await self._ask(b"", orjson.dumps(order))

    async def prepare_network(self, order: NetworkOrder) -> str:
        """Ask for a network for jobs. Returns why they can't have one of their own; empty if they can.

        Raises Transient if there was no answer.
        """
        return await self._ask(NETWORK, orjson.dumps(order))

    async def _ask(self, what: bytes, content: bytes) -> str:
        async with self._slots:
            channel = await self._started()
            number = next(self._numbers)
            answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            self._waiting[number] = answer
            memory = os.memfd_create("towpath-order")
            try:
                os.write(memory, content)
                os.lseek(memory, 0, os.SEEK_SET)
                socket.send_fds(channel, [b"%d %b" % (number, what)], [memory])
                async with asyncio.timeout(_ANSWER_SECONDS):
                    return await answer
            except (OSError, TimeoutError) as error:
                raise Transient(f"fork server: {error or 'no answer'}") from error
            finally:
                os.close(memory)
                del self._waiting[number]

    async def _started(self) -> socket.socket:
        async with self._starting:
            if self._channel is None:
                self._channel = await self._start()
            return self._channel

    async def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "services.executor.local.server",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                # nothing of the service's own environment, which contains its secrets
                env={"PYTHONPATH": str(_SOURCES)},
                cwd="/",
                start_new_session=True,
            )
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        try:
            if await asyncio.wait_for(loop.sock_recv(ours, 64), _START_SECONDS) != READY:
                raise Transient("the fork server did not start")
        except (OSError, TimeoutError) as error:
            ours.close()
            raise Transient(f"the fork server did not start: {error}") from error
        loop.add_reader(ours, self._hear, ours)
        return ours

    def _hear(self, channel: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while packet := _receive(channel):
                number, _, text = packet.partition(b" ")
                answer = self._waiting.get(int(number))
                if answer is not None and not answer.done():
                    answer.set_result(text.decode("utf-8", "replace"))
            _log.warning("fork_server_lost", supervisors="are not affected")
            self._lost()

    def _lost(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            asyncio.get_running_loop().remove_reader(channel)
            channel.close()
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(ConnectionResetError("the fork server is gone"))


def _receive(channel: socket.socket) -> bytes:
    try:
        return channel.recv(8192)
    except ConnectionResetError:
        return b""
