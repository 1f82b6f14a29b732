"""Wrappers for calls of the AMQP library, used by `shared.messaging.bus` and `shared.messaging.consumer`.

Each wrapped call ends in one of three ways: it returns, it raises Transient, or it raises CancelledError
because its own task was cancelled. aio-pika and aiormq do not guarantee this:

- When they consider a connection lost, they end the pending calls of other tasks with CancelledError. This
  would end a task of the service that nobody has cancelled.
- They call `asyncio.wait_for`, which in Python 3.11 can swallow a cancellation
  (https://github.com/python/cpython/issues/86296). The task would continue to run after its service has
  stopped.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager, contextmanager

from aio_pika.exceptions import AMQPError

from shared.cancellation import cancellations
from shared.errors import Transient

_FAULTS = (AMQPError, OSError, TimeoutError, RuntimeError)
"""Exceptions that the library raises for a lost connection or channel.

It raises RuntimeError if the connection or channel was closed during a call.
"""


@contextmanager
def bus_faults() -> Iterator[None]:
    """Raise Transient for every fault of the broker or of the connection to it.

    Raises CancelledError only if the current task was cancelled inside the block.
    """
    before = cancellations()
    try:
        yield
    except (asyncio.CancelledError, *_FAULTS) as error:
        if cancellations() > before:
            raise asyncio.CancelledError from error
        raise Transient(f"bus: {type(error).__name__}: {error}") from error
    if cancellations() > before:
        raise asyncio.CancelledError


@asynccontextmanager
async def broker_call(seconds: float) -> AsyncIterator[None]:
    """Do the same as `bus_faults`, and also raise Transient if the block takes longer than `seconds`."""
    with bus_faults():
        async with asyncio.timeout(seconds):
            yield


async def close_within(seconds: float, closing: Awaitable[object]) -> None:
    """Run a call that closes a connection or a channel. Raises Transient if it fails or takes longer.

    The call gets a task of its own: aio-pika's `close()` can wait without a limit, even when it is
    cancelled.
    """
    task = asyncio.ensure_future(closing)
    task.add_done_callback(lambda done: done.cancelled() or done.exception())  # an abandoned one may fail
    try:
        await asyncio.wait([task], timeout=seconds)
    finally:
        task.cancel()
    if not task.done():
        raise Transient("bus: closing takes too long")
    with bus_faults():
        task.result()
