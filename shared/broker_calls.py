"""Calls of the AMQP library: each one answers, fails with Transient, or is cancelled because its caller is.

aio-pika and aiormq can neither be trusted with a cancellation nor to keep theirs to themselves. When a
connection is taken for dead they end the pending calls of others with CancelledError, which would end a
service's task. And they call `asyncio.wait_for`, which in Python 3.11 can swallow a cancellation
(https://github.com/python/cpython/issues/86296): the task would run on after its service has stopped.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from aio_pika.exceptions import AMQPError

from shared.errors import Transient

_FAULTS = (AMQPError, OSError, TimeoutError, RuntimeError)
"""What the library raises for a lost connection or channel.

RuntimeError: one that was closed during a call.
"""


@contextmanager
def bus_faults() -> Iterator[None]:
    """Raises Transient for every fault of the broker or of its connection.

    Raises CancelledError only if this task was cancelled.
    """
    before = _cancellations()
    try:
        yield
    except (asyncio.CancelledError, *_FAULTS) as error:
        if _cancellations() > before:
            raise asyncio.CancelledError from error
        raise Transient(f"bus: {type(error).__name__}: {error}") from error
    if _cancellations() > before:
        raise asyncio.CancelledError


@asynccontextmanager
async def broker_call(seconds: float) -> AsyncIterator[None]:
    """The same, for at most so many seconds; then it raises Transient."""
    with bus_faults():
        async with asyncio.timeout(seconds):
            yield


def _cancellations() -> int:
    """How many times the running task was asked to end (0 outside a task)."""
    task = asyncio.current_task()
    return task.cancelling() if task else 0
