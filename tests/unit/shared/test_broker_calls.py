"""Tests that a call of the AMQP library is cancelled exactly when its caller is."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest
from aio_pika.exceptions import AMQPError

from shared.errors import Transient
from shared.messaging.broker_calls import broker_call, bus_faults, close_within


async def _cancelled_while(call: Callable[[asyncio.Event], Awaitable[None]]) -> "asyncio.Task[None]":
    """Cancel a task after its call has begun, and return the finished task."""
    begun = asyncio.Event()

    async def caller() -> None:
        with bus_faults():
            await call(begun)

    task = asyncio.create_task(caller())
    await begun.wait()
    task.cancel()
    await asyncio.wait([task], timeout=5)
    return task


@pytest.mark.parametrize(
    "error", [AMQPError("gone"), ConnectionResetError(), TimeoutError(), RuntimeError("closed")]
)
async def test_a_fault_of_the_broker_is_transient(error: Exception) -> None:
    with pytest.raises(Transient), bus_faults():
        raise error


async def test_a_bug_is_not_a_fault_of_the_broker() -> None:
    with pytest.raises(KeyError), bus_faults():
        raise KeyError


async def test_a_pending_call_that_the_library_cancels_is_transient() -> None:
    pending = asyncio.get_running_loop().create_future()
    pending.cancel()

    with pytest.raises(Transient), bus_faults():
        await pending


async def test_a_cancelled_caller_is_cancelled() -> None:
    async def waits(begun: asyncio.Event) -> None:
        begun.set()
        await asyncio.Event().wait()

    assert (await _cancelled_while(waits)).cancelled()


@pytest.mark.parametrize("error", [None, AMQPError("gone"), TimeoutError()])
async def test_a_cancellation_that_the_library_swallows_still_ends_the_caller(
    error: Exception | None,
) -> None:
    async def swallows(begun: asyncio.Event) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if error is not None:
                raise error from None

    assert (await _cancelled_while(swallows)).cancelled()


async def test_a_cancelled_caller_can_still_call_the_broker_to_clean_up() -> None:
    cleaned_up = []

    async def cleans_up(begun: asyncio.Event) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            async with broker_call(5):
                await asyncio.sleep(0)
            cleaned_up.append(True)
            with pytest.raises(Transient), bus_faults():
                raise AMQPError("gone")

    assert (await _cancelled_while(cleans_up)).cancelled()
    assert cleaned_up


async def _waits(*, swallows: bool) -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        if swallows:
            raise AMQPError("gone") from None
        raise


async def _calls(*, seconds: float, swallows: bool) -> None:
    async with broker_call(seconds):
        await _waits(swallows=swallows)


@pytest.mark.parametrize("swallows", [False, True])
async def test_a_call_that_takes_too_long_is_transient(*, swallows: bool) -> None:
    with pytest.raises(Transient):
        await _calls(seconds=0.01, swallows=swallows)


@pytest.mark.parametrize("swallows", [False, True])
async def test_a_bound_of_the_caller_is_the_callers_timeout(*, swallows: bool) -> None:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(_calls(seconds=5, swallows=swallows), 0.01)
    with pytest.raises(TimeoutError):
        await _bounded(swallows=swallows)


async def _bounded(*, swallows: bool) -> None:
    async with asyncio.timeout(0.01):
        await _calls(seconds=5, swallows=swallows)


async def test_closing_that_ignores_its_cancellation_holds_up_nobody() -> None:
    over = asyncio.Event()

    async def stubborn() -> None:
        while not over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await over.wait()

    with pytest.raises(Transient):
        await close_within(0.01, stubborn())
    closing = asyncio.create_task(close_within(60, stubborn()))
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing], timeout=5)
    assert closing.cancelled()
    over.set()


async def test_closing_that_fails_is_transient() -> None:
    async def fails() -> None:
        raise ConnectionResetError

    with pytest.raises(Transient):
        await close_within(5, fails())
