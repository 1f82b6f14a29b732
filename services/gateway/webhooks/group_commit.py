"""Group commit: concurrent webhook deliveries share one database transaction.

`Acceptance` calls `store()` for each verified delivery.

1. The first delivery starts a drain task, which commits it immediately. No delivery waits for a group to
   fill.
2. Deliveries that arrive during that commit are queued and form the next group of at most `GROUP_SIZE`.
3. Each caller gets its own result after the commit.
4. A body of more than `ALONE_BYTES` is committed alone and in parallel, so it does not delay a group.

Failures:
- No answer before the oldest delivery's deadline: every caller of the group gets `Transient` and uses the
  fallback queue. The transaction may still commit. The copy from the queue is then recognised as a duplicate.
- The database rejects a row: each delivery of the group is committed alone, so one bad row does not affect
  the others.
- The circuit opens: all queued deliveries fail at once with `Transient`.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from services.gateway.webhooks.circuit import Circuit
from services.gateway.webhooks.deliveries import Delivery
from shared.crashpoint import crashpoint
from shared.errors import Transient

GROUP_SIZE = 128
ALONE_BYTES = 1 << 20


class Kept(NamedTuple):
    """The result of storing a delivery.

    `delivery_id` is the forge's id of the first copy. `is_duplicate` is True if the delivery was already
    stored, under the same id or another one.
    """

    delivery_id: str
    is_duplicate: bool


class Refused(Exception):
    """The row violates a constraint of the table and can never be stored."""


Commit = Callable[[Sequence[Delivery]], Awaitable[list[Kept]]]
"""Stores all deliveries or none, and returns the results in the same order.

Raises Transient if it is unknown whether they are stored, and Refused or a database error otherwise.
"""


@dataclass(slots=True)
class _Waiting:
    delivery: Delivery
    kept: "asyncio.Future[Kept]"
    deadline: float


class GroupCommit:
    """Commits deliveries in groups and reports success or failure to the circuit."""

    def __init__(self, commit: Commit, circuit: Circuit, wait_seconds: float) -> None:
        self._commit = commit
        self._circuit = circuit
        self._wait_seconds = wait_seconds
        self._queue: deque[_Waiting] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_draining = False

    async def store(self, delivery: Delivery) -> Kept:
        """Store the delivery and return when it is committed.

        Raises Transient if the commit is not confirmed in time, or Refused if the row can never be stored.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(delivery, loop.create_future(), loop.time() + self._wait_seconds)
        if len(delivery.body) > ALONE_BYTES:
            self._start(self._settle([waiting]))
        else:
            self._queue.append(waiting)
            if not self._is_draining:
                self._is_draining = True
                self._start(self._drain())
        return await waiting.kept

    def _start(self, work: "Awaitable[None]") -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _drain(self) -> None:
        try:
            while self._queue:
                group = [self._queue.popleft() for _ in range(min(len(self._queue), GROUP_SIZE))]
                await self._settle(group)
                if self._circuit.is_open:
                    _fail(list(self._queue), Transient("the circuit is open"))
                    self._queue.clear()
        finally:
            self._is_draining = False

    async def _settle(self, group: list[_Waiting]) -> None:
        group = [waiting for waiting in group if not waiting.kept.done()]  # skip callers that were cancelled
        if not group:
            return
        group.sort(
            key=lambda waiting: (waiting.delivery.delivery_id, waiting.delivery.body_sha256)
        )  # all gateways lock rows in the same order, so there are no deadlocks
        try:
            answers = await self._within(group)
        except Transient as error:
            self._circuit.failed()
            _fail(group, error)
        except Exception as error:  # noqa: BLE001 - one bad row must not harm others
            await self._each_alone(group, error)
        else:
            self._circuit.succeeded()
            crashpoint("gateway.stored_not_answered")
            for waiting, kept in zip(group, answers, strict=True):
                if not waiting.kept.done():
                    waiting.kept.set_result(kept)

    async def _within(self, group: list[_Waiting]) -> list[Kept]:
        """Return the commit's results, or raise Transient at the deadline.

        The commit is cancelled but not awaited, because a hung connection can take long to end.
        """
        crashpoint("gateway.verified_not_stored")
        commit = asyncio.ensure_future(self._commit([waiting.delivery for waiting in group]))
        left = min(waiting.deadline for waiting in group) - asyncio.get_running_loop().time()
        done, _ = await asyncio.wait({commit}, timeout=max(left, 0))
        if not done:
            commit.cancel()
            commit.add_done_callback(_ignore)
            raise Transient("Postgres did not answer in time")
        return commit.result()

    async def _each_alone(self, group: list[_Waiting], error: Exception) -> None:
        if len(group) == 1:
            _fail(group, error)
            return
        for waiting in group:
            await self._settle([waiting])


def _fail(group: Sequence[_Waiting], error: Exception) -> None:
    for waiting in group:
        if not waiting.kept.done():
            waiting.kept.set_exception(error)


def _ignore(commit: "asyncio.Future[list[Kept]]") -> None:
    if not commit.cancelled():
        commit.exception()
