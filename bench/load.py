"""Sends signed webhooks to one local address, as fast as answers arrive or at a steady rate.

It runs as a separate process, `python -m bench.load`, which reads a `Job` as JSON from standard input and
prints a `Load`. It shares the machine's cores with the measured system. It is therefore one loop over epoll
and plain sockets, and everything possible is prepared before the clock starts. Each request may take
`ANSWER_SECONDS`, and the total time is limited too.
"""

import collections
import json
import select
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from bench.figures import quantile
from bench.pushes import Series

ANSWER_SECONDS = 20
RECEIVE_BYTES = 65536


@dataclass(frozen=True)
class Job:
    """A job for the sender: pushes `first` to `first + most - 1` of a series, for at most `seconds`.

    If `per_second` is 0, it sends as fast as answers arrive.
    """

    port: int
    path: str
    series: Series
    most: int
    seconds: float
    first: int = 0
    connections: int = 16
    per_second: float = 0


@dataclass
class Load:
    """The result. Latencies count from the time at which a request was due until its whole answer."""

    statuses: dict[str, int] = field(default_factory=dict)
    accepted: int = 0
    unanswered: int = 0
    first_sent_at: float = 0
    last_answered_at: float = 0
    p50_ms: float = 0
    p99_ms: float = 0
    longest_ms: float = 0
    cpu_seconds: float = 0
    """The sender's own time, on the cores that it shares with the measured system."""

    @property
    def seconds(self) -> float:
        return self.last_answered_at - self.first_sent_at


def job_from(text: str) -> Job:
    values = json.loads(text)
    return Job(**values | {"series": Series(**values["series"])})


class Connection:
    """A persistent connection with at most one open request."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.socket = self._connect()
        self.due_at = 0.0
        self._received = b""

    def send(self, parts: tuple[bytes, bytes, bytes], due_at: float) -> None:
        self.due_at = due_at
        sent = self.socket.sendmsg(parts)
        if sent < sum(map(len, parts)):
            self.socket.sendall(b"".join(parts)[sent:])

    def receive(self) -> str | None:
        """Return the status if the answer is complete, `lost` if the connection broke, or else None."""
        try:
            data = self.socket.recv(RECEIVE_BYTES)
        except OSError:
            data = b""
        self._received += data
        status = status_of(self._received)
        if status is None and not data:
            status = "lost"
        if status is not None:
            self._received = b""
        return status

    def reconnect(self) -> None:
        self.socket.close()
        self.socket = self._connect()

    def _connect(self) -> socket.socket:
        connected = socket.create_connection(("127.0.0.1", self._port), timeout=ANSWER_SECONDS)
        # Blocking: epoll reports when there is data, and a request fits into the socket's buffer.
        connected.settimeout(None)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected


def status_of(received: bytes) -> str | None:
    """Return the status of a complete HTTP/1.1 answer, or None while a part is missing.

    The answer has a content length or is chunked.
    """
    head, blank, body = received.partition(b"\r\n\r\n")
    if not blank:
        return None
    status = head[9:12].decode("ascii", "replace")
    lower = head.lower()
    if b"\r\ntransfer-encoding: chunked" in lower:
        return status if body.endswith(b"0\r\n\r\n") else None
    _, _, length = lower.partition(b"\r\ncontent-length:")
    return status if len(body) >= int(length.split(b"\r\n", 1)[0] or 0) else None


def requests(job: Job) -> list[tuple[bytes, bytes, bytes]]:
    """Return head, common beginning and end of each request, ready to be sent."""
    beginning = job.series.beginning
    made = []
    for number in range(job.first, job.first + job.most):
        end = job.series.end(number)
        lines = [
            f"POST {job.path} HTTP/1.1",
            f"Host: 127.0.0.1:{job.port}",
            f"Content-Length: {len(beginning) + len(end)}",
        ]
        lines += [f"{name}: {value}" for name, value in job.series.headers(number, end).items()]
        made.append(("\r\n".join([*lines, "", ""]).encode(), beginning, end))
    return made


class Sender:
    """One run of a job."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._waiting: Iterator[tuple[bytes, bytes, bytes]] = iter(requests(job))
        self._connections = {
            connection.socket.fileno(): connection
            for connection in (Connection(job.port) for _ in range(job.connections))
        }
        self._idle = collections.deque(self._connections.values())
        self._epoll = select.epoll()
        for number in self._connections:
            self._epoll.register(number, select.EPOLLIN)
        self._busy = 0
        self._sent = 0
        self._latencies: list[float] = []
        self._statuses: collections.Counter[str] = collections.Counter()

    def run(self) -> Load:
        started_at, wall, cpu_before = time.perf_counter(), time.time(), time.process_time()
        end_at = started_at + self._job.seconds
        last_at = started_at
        sending = True
        while sending or self._busy:
            sending = sending and time.perf_counter() < end_at and self._send_due(started_at)
            if not sending and not self._busy:
                break
            events = self._epoll.poll(self._pause(started_at) if sending else ANSWER_SECONDS)
            if not events and not sending:
                break  # open requests count as unanswered
            for number, _ in events:
                last_at = time.perf_counter()
                self._answered(self._connections[number], last_at)
        self._epoll.close()
        load = self._load(wall, wall + last_at - started_at)
        load.cpu_seconds = time.process_time() - cpu_before
        return load

    def _send_due(self, started_at: float) -> bool:
        """Send the requests that are due on idle connections. Return False if there are no more requests."""
        pace = self._job.per_second
        while self._idle:
            due_at = started_at + self._sent / pace if pace else time.perf_counter()
            if due_at > time.perf_counter():
                return True
            parts = next(self._waiting, None)
            if parts is None:
                return False
            self._idle.popleft().send(parts, due_at)
            self._sent += 1
            self._busy += 1
        return True

    def _pause(self, started_at: float) -> float:
        """Return the seconds until the next request is due.

        Without a rate or an idle connection, only an answer can end the wait.
        """
        if not self._job.per_second or not self._idle:
            return ANSWER_SECONDS
        return max(0.0, started_at + self._sent / self._job.per_second - time.perf_counter())

    def _answered(self, connection: Connection, at: float) -> None:
        status = connection.receive()
        if status is None:
            return
        self._statuses[status] += 1
        self._latencies.append(at - connection.due_at)
        self._busy -= 1
        if status == "lost":
            number = connection.socket.fileno()
            self._epoll.unregister(number)
            del self._connections[number]
            connection.reconnect()
            self._connections[connection.socket.fileno()] = connection
            self._epoll.register(connection.socket.fileno(), select.EPOLLIN)
        self._idle.append(connection)

    def _load(self, first_sent_at: float, last_answered_at: float) -> Load:
        ordered = sorted(self._latencies)
        load = Load(
            dict(self._statuses),
            unanswered=self._busy,
            first_sent_at=first_sent_at,
            last_answered_at=last_answered_at,
        )
        load.accepted = sum(count for status, count in self._statuses.items() if status.startswith("2"))
        if ordered:
            load.p50_ms, load.p99_ms, load.longest_ms = (
                1000 * seconds for seconds in (quantile(ordered, 0.5), quantile(ordered, 0.99), ordered[-1])
            )
        return load


if __name__ == "__main__":
    print(json.dumps(asdict(Sender(job_from(sys.stdin.read())).run())))
