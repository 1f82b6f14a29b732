"""Detects that the running task was cancelled, although a library has replaced or swallowed the cancellation.

Used around calls of the AMQP library and of asyncpg. A task that misses its cancellation runs on, and an
`asyncio.TaskGroup` waits for it without a limit, because a group cancels each of its tasks only once.
"""

import asyncio


def cancellations() -> int:
    """Return how often the current task's cancellation was requested, or 0 outside a task."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        return 0
    return task.cancelling() if task else 0
