"""Consumers: take messages from a queue, call a handler, and settle every message.

Services create a consumer with `Bus.consumer` and run it as a task. Only this module acknowledges, rejects or
requeues messages. Handlers must be safe to repeat.

1. The consumer opens a channel, declares its queue, and starts its workers.
2. A worker takes a batch and calls the handler.
3. The handler returns, and the worker acknowledges the messages.

Failures:
- The handler raises Transient: the messages stay unacknowledged, and the handler is called again with
  backoff. After 10 minutes the messages move to the end of the queue.
- The handler raises Conflict: the message is acknowledged.
- The handler raises Rejected, or the body is not a message: it goes to the dead-letter queue.
- The handler raises another exception: the message returns to the queue. After the queue's delivery limit it
  goes to the dead-letter queue.
- A batch fails, but not with Transient: each of its messages is handled alone, so that one bad message does
  not affect the others.
- The message's type is unknown to this release: the message is acknowledged, and reconcilers do its work.
- The connection is lost: the broker delivers the unacknowledged messages again, and the consumer opens a new
  channel with backoff.
- An operator deletes the queue or a binding: a check every 10 seconds declares it again.
- The service stops: the consumer finishes the messages that its workers hold. Closing the channel returns the
  others.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from prometheus_client import Counter, Histogram

from shared.backoff import backoff
from shared.crashpoint import crashpoint
from shared.errors import Conflict, Rejected, Transient
from shared.messaging.broker_calls import broker_call, bus_faults, close_within
from shared.messaging.messages import Message, decode, type_of
from shared.messaging.topology import EXCHANGE, Queue
from shared.tracing import common, traced

if TYPE_CHECKING:
    from shared.messaging.bus import Bus

_log = structlog.get_logger()
_handled = Counter("towpath_messages_total", "Messages settled", ["queue", "outcome"])
_seconds = Histogram("towpath_handler_seconds", "A handler's time for one batch", ["queue"])

_PATIENCE_SECONDS = 600.0
"""The time for which a handler is retried before its messages move to the end of the queue.

If a message is not settled within 30 minutes, the broker closes the channel and counts a failed delivery.
"""
_CHECK_SECONDS = 10.0
_CALL_SECONDS = 20.0
"""The longest time that the broker may take to declare a queue or to start a consumer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The number of messages that a handler gets in one call, and the time between the calls."""

    batch: int = 1
    workers: int = 1
    """The number of batches that are handled concurrently."""
    linger_seconds: float = 0
    """The shortest time between the starts of two batches while messages arrive in groups.

    It applies if the last batch had several messages and the next one is not full. More messages then share
    one transaction. After a batch of one message there is no wait.
    """


class Consumer:
    """Passes the messages of one queue to one handler until it is cancelled.

    On cancellation it finishes the messages that its workers hold and returns the others to the queue.
    """

    def __init__(
        self, bus: "Bus", queue: Queue, handler: Callable[[Sequence[Any]], Awaitable[None]], pace: Pace
    ) -> None:
        self._bus = bus
        self._queue = queue
        self._handler = handler
        self._pace = pace
        self._held: set[int] = set()  # delivery tags of this channel, taken and not yet settled
        self.name = queue.name

    async def run(self) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            try:
                await self._consume_until_lost()
            except Transient as error:
                _log.warning("consumer_lost", queue=self._queue.name, why=str(error))
            failures = 1 if time.monotonic() - started > 30 else failures + 1
            await asyncio.sleep(backoff(failures))

    async def _consume_until_lost(self) -> None:
        channel = await self._bus.open_channel(prefetch=self._pace.batch * self._pace.workers * 2)
        self._held = set()
        arrived: asyncio.Queue[AbstractIncomingMessage | None] = asyncio.Queue()
        workers: list[asyncio.Task[None]] = []
        watch: asyncio.Task[None] | None = None
        try:
            with bus_faults():
                declared = await self._bus.declare(channel, self._queue)
                async with broker_call(_CALL_SECONDS):
                    tag = await declared.consume(arrived.put)
                workers = [asyncio.create_task(self._work(arrived)) for _ in range(self._pace.workers)]
                watch = asyncio.create_task(self._until_lost(channel, tag))
                try:
                    await asyncio.wait([watch, *workers], return_when=asyncio.FIRST_COMPLETED)
                except asyncio.CancelledError:
                    with contextlib.suppress(Transient), bus_faults():
                        await declared.cancel(tag, timeout=2)
                    await self._finish(arrived, workers)
                    raise
                for task in [watch, *workers]:
                    if task.done():
                        task.result()
        finally:
            for task in [*workers, *([watch] if watch else [])]:
                task.cancel()
            await asyncio.gather(*workers, *([watch] if watch else []), return_exceptions=True)
            await _close(channel)

    async def _until_lost(self, channel: AbstractChannel, tag: str) -> None:
        """Return when the channel is closed. Check every 10 seconds that the queue still has this consumer.

        Raises Transient if it does not, for example because the queue was deleted and declared again.
        """
        closed = _closing(channel)
        while not await _within(closed, _CHECK_SECONDS):
            await self._check_queue()
            # The library removes the tag when the broker cancels the consumer.
            if tag not in getattr(await channel.get_underlay_channel(), "consumers", {tag}):
                raise Transient("the queue has dropped its consumer")

    async def _check_queue(self) -> None:
        """Declare queue, dead-letter queue and bindings again, in case an operator has deleted them.

        Raises Transient if the queue has no consumer.
        """
        probe = await self._bus.open_channel(prefetch=1)
        try:
            found = await self._bus.declare(probe, self._queue)
            if not found.declaration_result.consumer_count:
                raise Transient("the queue has no consumer")
        finally:
            await _close(probe)

    @staticmethod
    async def _finish(
        arrived: "asyncio.Queue[AbstractIncomingMessage | None]", workers: list["asyncio.Task[None]"]
    ) -> None:
        """Wait until the workers have handled the messages that they hold.

        The other messages stay unacknowledged. Closing the channel returns them to the queue.
        """
        while not arrived.empty():
            arrived.get_nowait()
        for _ in workers:
            arrived.put_nowait(None)
        await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self, arrived: "asyncio.Queue[AbstractIncomingMessage | None]") -> None:
        loop = asyncio.get_running_loop()
        next_start = 0.0
        while (first := await arrived.get()) is not None:
            self._held.add(_tag(first))
            if arrived.qsize() + 1 < self._pace.batch and (left := next_start - loop.time()) > 0:
                await asyncio.sleep(left)
            started = loop.time()
            taken = [first]
            ending = False
            while len(taken) < self._pace.batch and not arrived.empty():
                more = arrived.get_nowait()
                if more is None:
                    ending = True
                    break
                self._held.add(_tag(more))
                taken.append(more)
            await self._settle(taken)
            next_start = started + self._pace.linger_seconds if len(taken) > 1 else 0.0
            if ending:
                return

    async def _settle(self, taken: list[AbstractIncomingMessage]) -> None:
        """Decode the messages and handle them.

        Bodies that are not messages become dead letters. Messages of unknown types are acknowledged.
        """
        known: list[tuple[AbstractIncomingMessage, Message]] = []
        for incoming in taken:
            try:
                message = decode(incoming.body)
            except ValueError:
                await self._end(incoming, "rejected")
                continue
            if message is None:
                _log.warning("message_type_unknown", type=type_of(incoming.body))
                await self._end(incoming, "unknown")
            else:
                known.append((incoming, message))
        if known:
            await self._handle(known)

    async def _handle(self, known: list[tuple[AbstractIncomingMessage, Message]]) -> None:
        with traced(common(getattr(message, "traceparent", None) for _, message in known)):
            await self._handle_together(known)

    async def _handle_together(self, known: list[tuple[AbstractIncomingMessage, Message]]) -> None:
        started = time.monotonic()
        crashpoint("consuming.taken_not_handled")
        outcome = await self._outcome_of([message for _, message in known])
        if outcome not in {"handled", "put_back"} and len(known) > 1:
            for one in known:
                await self._handle([one])
            return
        duration = time.monotonic() - started
        _seconds.labels(self._queue.name).observe(duration)
        _log.debug(
            "messages_handled",
            queue=self._queue.name,
            count=len(known),
            outcome=outcome,
            duration_ms=round(duration * 1000, 1),
        )
        crashpoint("consuming.handled_not_acked")
        if outcome == "handled":
            await self._acknowledge([incoming for incoming, _ in known])
            crashpoint("consuming.acked")
        else:
            for incoming, _ in known:
                await self._end(incoming, outcome)

    async def _outcome_of(self, messages: list[Message]) -> str:
        """Call the handler and return the outcome: handled, dropped, rejected, failed or put_back.

        While the handler raises Transient, it is called again with backoff. The outcome is `put_back` if this
        takes longer than 10 minutes.
        """
        first_failure: float | None = None
        failures = 0
        while True:
            try:
                await self._handler(messages)
                return "handled"
            except Transient as error:
                first_failure = first_failure or time.monotonic()
                if time.monotonic() - first_failure > _PATIENCE_SECONDS:
                    _log.warning("message_put_back", queue=self._queue.name, why=str(error))
                    return "put_back"
                failures += 1
                _log.info("handler_waits", queue=self._queue.name, failures=failures, why=str(error))
                await asyncio.sleep(backoff(failures))
            except Conflict:
                return "dropped"
            except Rejected as error:
                _log.warning("message_rejected", queue=self._queue.name, why=str(error))
                return "rejected"
            except Exception:  # noqa: BLE001 - a handler's outermost edge: a bug must not end the consumer
                _log.exception("handler_failed", queue=self._queue.name, count=len(messages))
                return "failed"

    async def _acknowledge(self, handled: list[AbstractIncomingMessage]) -> None:
        """Acknowledge all of them with one `multiple=True` frame if no earlier message is being handled.

        The broker then stores them together. Otherwise acknowledge them one by one.
        """
        last = max(handled, key=_tag)
        tags = set(map(_tag, handled))
        if any(tag < _tag(last) for tag in self._held - tags):
            for incoming in handled:
                await self._end(incoming, "handled")
            return
        _handled.labels(self._queue.name, "handled").inc(len(handled))
        with bus_faults():
            await last.ack(multiple=True)
        self._held -= tags

    async def _end(self, incoming: AbstractIncomingMessage, outcome: str) -> None:
        """Settle one message by its outcome.

        If the channel is lost here, the broker delivers the message again. Handlers are safe to repeat.
        """
        _handled.labels(self._queue.name, outcome).inc()
        with bus_faults():
            if outcome == "rejected":
                await incoming.reject(requeue=False)
            elif outcome == "failed":
                before = incoming.headers.get("x-delivery-count") or 0
                # The broker redelivers a returned message at once.
                await asyncio.sleep(backoff(int(str(before)) + 1))
                await incoming.nack(requeue=True)
            elif outcome == "put_back":
                await self._bus.put_back(self._queue, incoming)
                await incoming.ack()
            else:
                await incoming.ack()
        self._held.discard(_tag(incoming))


class ExclusiveConsumer:
    """Passes messages to a handler from a temporary queue, which exists while the consumer is connected.

    Messages that are published while it is not connected are lost. Its users therefore also check the tables
    periodically.
    """

    name = "live"

    def __init__(
        self, bus: "Bus", keys: Sequence[str], handler: Callable[[Message], Awaitable[None]]
    ) -> None:
        self._bus = bus
        self._keys = keys
        self._handler = handler

    async def run(self) -> None:
        failures = 0
        while True:
            started = time.monotonic()
            try:
                await self._listen_until_lost()
            except Transient as error:
                _log.warning("consumer_lost", queue="live", why=str(error))
            failures = 1 if time.monotonic() - started > 30 else failures + 1
            await asyncio.sleep(backoff(failures))

    async def _listen_until_lost(self) -> None:
        channel = await self._bus.open_channel(prefetch=1000)
        try:
            async with broker_call(_CALL_SECONDS):
                queue = await channel.declare_queue(
                    exclusive=True,
                    auto_delete=True,
                    arguments={"x-max-length": 10_000, "x-overflow": "drop-head"},
                )
                await queue.consume(self._hear, no_ack=True)
            closed = _closing(channel)
            while not closed.is_set():
                async with broker_call(_CALL_SECONDS):
                    exchange = await channel.declare_exchange(EXCHANGE, "topic", durable=True)
                    for key in self._keys:  # again on each check, because an operator may delete a binding
                        await queue.bind(exchange, key)
                await _within(closed, _CHECK_SECONDS)
        finally:
            await _close(channel)

    async def _hear(self, incoming: AbstractIncomingMessage) -> None:
        try:
            message = decode(incoming.body)
        except ValueError:
            return
        if message is not None:
            await self._handler(message)


def _tag(incoming: AbstractIncomingMessage) -> int:
    """Return the message's delivery tag, its number on the channel."""
    return incoming.delivery_tag or 0


def _closing(channel: AbstractChannel) -> asyncio.Event:
    """Return an event that is set when the channel is closed by us, by the broker or by a network failure."""
    closed = asyncio.Event()
    channel.close_callbacks.add(lambda *_: closed.set())
    if channel.is_closed:
        closed.set()
    return closed


async def _within(happened: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):  # wait_for may swallow a cancellation (Python 3.11)
            await happened.wait()
    except TimeoutError:
        return False
    return True


async def _close(channel: AbstractChannel) -> None:
    try:
        await close_within(2, channel.close())
    except Transient as error:
        _log.debug("channel_close_failed", why=str(error))
