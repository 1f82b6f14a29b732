"""One attacking process: `python -m tests.attack.attackers`.

It reads an `Order` as JSON from standard input and prints `ready`. Then it attacks one port of this machine
at full rate for the time of the order, and prints as JSON how often it got each answer. The number of
connections is fixed for each attack. The process has the lowest priority, because it shares cores with the
others.
"""

import asyncio
import collections
import json
import os
import resource
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.pushes import Series
from tests.attack.payloads import BODY_SIZES, HALF_HEAD, MANY_MISTAKES, head_of_body

CHUNK = b"x" * (256 << 10)
CONNECTING = 256
_BIND_ADDRESS_NO_PORT = 24
"""IP_BIND_ADDRESS_NO_PORT of ip(7): the kernel chooses a port when it connects, which is far cheaper."""
PAUSE_SECONDS = 0.05
"""The pause before the next attempt if the machine allowed no more connections."""


@dataclass(frozen=True)
class Order:
    """The task of one attacking process."""

    attack: str
    port: int
    seconds: float
    address: str = "127.0.0.2"
    """The loopback address that the attack comes from."""
    token: str = ""
    path: str = ""
    series: dict[str, Any] | None = None
    """The arguments of `bench.pushes.Series`, for the attack that pushes."""
    first: int = 0
    """The number of the first push."""


@dataclass
class Attacker:
    """One connection of an attack. It is opened again after it was closed."""

    order: Order
    number: int
    answers: collections.Counter[str]
    connecting: asyncio.Semaphore
    """Bounds the connections that this process opens at the same time."""
    reader: asyncio.StreamReader = field(init=False)
    writer: asyncio.StreamWriter = field(init=False)

    async def repeat(self, attack: "Callable[[Attacker], Awaitable[None]]") -> None:
        while True:
            try:
                async with self.connecting:
                    self.reader, self.writer = await asyncio.open_connection(sock=await self.connect())
            except OSError:
                self.answers["not connected"] += 1
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            self.answers["connected"] += 1
            try:
                await attack(self)
            except (OSError, asyncio.IncompleteReadError):
                self.answers["closed"] += 1
            finally:
                self.writer.transport.abort()

    async def connect(self) -> socket.socket:
        sock = socket.socket()
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            sock.bind((self.order.address, 0))
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.order.port))
        except BaseException:
            sock.close()
            raise
        return sock

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> str:
        """Send a whole request and return the status of its answer.

        The answer's body is read too if its length is known.
        """
        lines = [f"{method} {path} HTTP/1.1", "Host: towpath", f"Authorization: Bearer {self.order.token}"]
        lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await self.writer.drain()
        return await self.answer()

    async def answer(self) -> str:
        head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
        _, _, length = head.partition(b"\r\ncontent-length:")
        await self.reader.readexactly(int(length.split(b"\r\n", 1)[0] or 0))
        status = head[9:12].decode("ascii", "replace")
        self.answers[status] += 1
        return status


async def many_mistakes(attacker: Attacker) -> None:
    """X3: send a pipeline with thousands of errors, again and again."""
    body = json.dumps({"yaml_config": MANY_MISTAKES}).encode()
    while True:
        await attacker.ask("POST", "/pipelines/validate", body)


async def unfinished_body(attacker: Attacker) -> None:
    """X4: send a body without its last byte."""
    size = BODY_SIZES[attacker.number % len(BODY_SIZES)]
    attacker.writer.write(head_of_body(size))
    sending = asyncio.create_task(_send(attacker.writer, size - 1))
    try:
        await attacker.answer()
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def _send(writer: asyncio.StreamWriter, size: int) -> None:
    for at in range(0, size, len(CHUNK)):
        writer.write(CHUNK[: size - at])
        await writer.drain()


async def costly_pushes(attacker: Attacker) -> None:
    """X5: send pushes that are compared with many costly globs."""
    series = Series(**attacker.order.series or {})
    while True:
        number = attacker.order.first + attacker.answers.total()
        end = series.end(number)
        headers = {
            name: value for name, value in series.headers(number, end).items() if name != "Content-Type"
        }
        await attacker.ask("POST", "/webhooks/github", series.beginning + end, **headers)


async def waiting_connection(attacker: Attacker) -> None:
    """X6: send half a head, or nothing at all, until the gateway closes the connection."""
    if attacker.number % 7 < 2:  # 8,000 of 28,000
        attacker.writer.write(HALF_HEAD)
    await attacker.answer()


async def open_streams(attacker: Attacker) -> None:
    """X8: open a live log and keep it open. If it is refused, try again."""
    while await attacker.ask("GET", attacker.order.path, Accept="text/event-stream") != "200":
        pass
    while await attacker.reader.read(65536):
        pass


ATTACKS: dict[str, tuple[int, Callable[[Attacker], Awaitable[None]]]] = {
    "X3": (15, many_mistakes),
    "X4": (16, unfinished_body),
    "X5": (1, costly_pushes),
    "X6": (14_000, waiting_connection),
    "X8": (50, open_streams),
}
"""The number of connections of one process, and the task of each."""


async def attack(order: Order) -> dict[str, int]:
    """Run the attack and return how often the attackers got each answer."""
    connections, one = ATTACKS[order.attack]
    answers: collections.Counter[str] = collections.Counter()
    connecting = asyncio.Semaphore(CONNECTING)
    numbers = range(min(connections, _affordable()))
    attackers = [Attacker(order, number, answers, connecting) for number in numbers]
    with suppress(TimeoutError):
        async with asyncio.timeout(order.seconds):
            await asyncio.gather(*(attacker.repeat(one) for attacker in attackers))
    return dict(answers)


def _affordable() -> int:
    """Return the number of connections that this process may have open."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard - 64


def give_way() -> None:
    """Give this process the lowest priority.

    If Linux groups processes by session (autogroup), the group has a nice value too. It is changed only if
    this process leads its session. In a terminal the group would contain all other processes of that
    terminal.
    """
    os.nice(19)
    group = Path("/proc/self/autogroup")
    if group.exists() and os.getsid(0) == os.getpid():
        with suppress(OSError):  # not permitted for some users
            group.write_text("19")


def main() -> None:
    give_way()
    order = Order(**json.loads(sys.stdin.readline()))
    print("ready", flush=True)
    print(json.dumps(asyncio.run(attack(order))), flush=True)


if __name__ == "__main__":
    main()
