"""Tests that a cancelled task ends although a library has replaced or swallowed its cancellation."""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from shared.database.store import database_faults
from shared.errors import Transient
from shared.reconcile import Check, Reconciler


async def cancelled_once(act: Callable[[asyncio.Event], Awaitable[None]]) -> "asyncio.Task[None]":
    """Return the task after it was cancelled once during its call."""
    begun = asyncio.Event()

    async def run() -> None:
        await act(begun)

    task = asyncio.create_task(run())
    await begun.wait()
    task.cancel()
    await asyncio.wait([task], timeout=5)
    return task


async def waits_and_raises(begun: asyncio.Event, error: Exception) -> None:
    begun.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise error from None


@pytest.mark.parametrize(
    "error", [asyncpg.InternalClientError("another operation"), OSError(), TimeoutError()]
)
async def test_an_error_of_the_database_that_replaces_a_cancellation_ends_the_task(error: Exception) -> None:
    async def call(begun: asyncio.Event) -> None:
        with database_faults():
            await waits_and_raises(begun, error)

    assert (await cancelled_once(call)).cancelled()


async def test_an_error_of_the_database_without_a_cancellation_is_transient() -> None:
    with pytest.raises(Transient), database_faults():
        raise asyncpg.InternalClientError("another operation")


@pytest.mark.parametrize("error", [Transient("gone"), KeyError("a bug")])
async def test_a_reconciler_ends_although_a_check_swallows_its_cancellation(error: Exception) -> None:
    async def run(begun: asyncio.Event) -> None:
        async def check() -> int:
            await waits_and_raises(begun, error)
            return 0

        await Reconciler([Check("test", check)], every_seconds=3600).run()

    assert (await cancelled_once(run)).cancelled()
