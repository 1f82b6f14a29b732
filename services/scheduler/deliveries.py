"""Delivery processing: turns a batch of stored deliveries into events, decisions and runs.

The caller holds the transaction. Locks are always taken in the order identities, pull requests, events, runs,
run numbers, so replicas may wait for each other but cannot deadlock.

1. The deliveries are loaded, and `normalise` reads each one that is still open.
2. `recognise` finds the registered repository. What the delivery shows about its identity is stored.
3. Events are stored with the outcomes of their deliveries. The other deliveries get only an outcome.
4. `supersede` ends runs of closed pull requests and voids approvals. `start_runs` creates decisions and runs.

Failures:
- A delivery cannot be read: its outcome is `failed`, and the others continue.
- Another replica decides the same delivery first: its event already exists, and this transaction skips it.
- A delivery breaks the code: the consumer decides each delivery of the batch in its own transaction, and
  calls `record_failure` for that one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import zstandard

from services.scheduler.approvals import Forks
from services.scheduler.identities import (
    IdentityUpdate,
    KnownRepository,
    Unrecognised,
    identity_update,
    recognise,
)
from services.scheduler.revisions import Revisions
from services.scheduler.starting import StoredEvent, start_runs, supersede
from services.scheduler.store import Row, SchedulerWork, StoredDelivery
from shared.events import Event, EventKind, Ignored
from shared.forges import Malformed, Reading, normalise
from shared.quoting import shown
from shared.tracing import set_trace

_LARGEST_BODY_BYTES = 96 * 1024**2
"""GitHub's largest payload has 25 MiB. Encoded as a form it takes three times as much."""

_decompressor = zstandard.ZstdDecompressor()  # only for the event loop: it is not thread-safe


@dataclass(frozen=True, slots=True)
class Batch:
    """Result of deciding a batch of deliveries."""

    seen: frozenset[int]
    """Deliveries that were read from the table. The others did not fit in memory or do not exist."""
    failed: frozenset[int] = frozenset()
    """Deliveries that could not be read, in this batch or earlier."""
    made_ready: bool = False
    """True if admission may have work."""


@dataclass(frozen=True, slots=True)
class _Recognised:
    """An event of a registered repository."""

    delivery: StoredDelivery
    event: Event
    repository: KnownRepository


async def decide_deliveries(
    work: SchedulerWork, revisions: Revisions, ids: Sequence[int], forks: Forks
) -> Batch:
    """Decides the first of these deliveries, as many as fit in memory.

    Safe to repeat, to run late and to run concurrently: an event is stored once. A decided delivery stays
    unchanged, unless it matched no registered repository and was redelivered afterwards.
    """
    deliveries = await work.deliveries(ids)
    set_trace(delivery.traceparent for delivery in deliveries)
    opened = [delivery for delivery in deliveries if delivery.is_open]
    readings, outcomes = _read(opened)
    failed = {outcome["delivery_id"] for outcome in outcomes} | {
        delivery.id for delivery in deliveries if delivery.outcome == "failed"
    }
    repositories = await _recognise(work, readings)
    recognised: list[_Recognised] = []
    for delivery, reading in readings:
        repository = repositories[delivery.id]
        if isinstance(reading.said, Ignored):
            known = repository.id if isinstance(repository, KnownRepository) else None
            outcomes.append(_outcome(delivery, "ignored", reading.said.reason, known))
        elif isinstance(repository, Unrecognised):
            outcomes.append(
                _outcome(
                    delivery,
                    repository.outcome,
                    repository.reason,
                    repository.repository.id if repository.repository else None,
                )
            )
        else:
            recognised.append(_Recognised(delivery, reading.said, repository))
    stored_events = await _store_events(work, recognised)
    if outcomes:
        await work.insert_outcomes(outcomes)
    superseded = await supersede(work, stored_events)
    started = await start_runs(work, revisions, stored_events, forks)
    return Batch(frozenset(delivery.id for delivery in deliveries), frozenset(failed), superseded or started)


async def record_failure(work: SchedulerWork, delivery_id: int, fault: str) -> None:
    """Stores the outcome `failed` for a delivery that breaks the code, so that it is not tried again."""
    await work.insert_outcomes(
        [
            {
                "delivery_id": delivery_id,
                "outcome": "failed",
                "reason": f"The delivery could not be decided: {fault}.",
            }
        ]
    )


def _read(deliveries: Iterable[StoredDelivery]) -> tuple[list[tuple[StoredDelivery, Reading]], list[Row]]:
    """Returns the deliveries that can be read, and the outcomes of the others."""
    readings: list[tuple[StoredDelivery, Reading]] = []
    outcomes: list[Row] = []
    for delivery in deliveries:
        try:
            readings.append(
                (
                    delivery,
                    normalise(delivery.source, delivery.event_type, delivery.headers, _raw(delivery.body)),
                )
            )
        except Malformed as why:
            outcomes.append(_outcome(delivery, "failed", str(why), None))
    return readings, outcomes


def _raw(body: bytes | None) -> bytes:
    if body is None:
        raise Malformed("The body is no longer kept.")
    try:
        return _decompressor.decompress(body, max_output_size=_LARGEST_BODY_BYTES)
    except zstandard.ZstdError:
        raise Malformed("The stored body is damaged.") from None


async def _recognise(
    work: SchedulerWork, readings: Sequence[tuple[StoredDelivery, Reading]]
) -> dict[int, KnownRepository | Unrecognised]:
    """Returns the repository of each delivery, by delivery id.

    Identity updates are stored first and then read again, because another replica may have stored different
    ones.
    """
    named = {(r.forge, r.forge_id, r.full_name) for _, reading in readings if (r := reading.repository)}
    hook_keys = {delivery.hook_key for delivery, _ in readings if delivery.hook_key is not None}
    if not named:
        return {delivery.id: recognise(reading, delivery.hook_key, ()) for delivery, reading in readings}
    known = await work.repositories(named, hook_keys)
    found = {delivery.id: recognise(reading, delivery.hook_key, known) for delivery, reading in readings}
    updates: list[IdentityUpdate] = []
    for delivery, reading in readings:
        about = found[delivery.id]
        if isinstance(about, KnownRepository):
            new = identity_update(reading, about, by_own_hook=delivery.hook_key is not None)
            updates += [] if new is None else [new]
    if updates:
        await work.update_identities(updates)
        known = await work.repositories(named, hook_keys)
        found = {delivery.id: recognise(reading, delivery.hook_key, known) for delivery, reading in readings}
    return found


async def _store_events(work: SchedulerWork, recognised: Sequence[_Recognised]) -> list[StoredEvent]:
    """Stores events with the outcomes of their deliveries.

    Returns only the events that this transaction stored. Another replica may have decided the other
    deliveries.
    """
    if not recognised:
        return []
    pull_requests = {
        (one.repository.id, one.event.pull_request)
        for one in recognised
        if one.event.pull_request is not None
    }
    if pull_requests:
        await work.lock_pull_requests(pull_requests)
    stored = await work.insert_events([_event_row(one) for one in recognised])
    return [
        StoredEvent(stored[one.delivery.id], one.event, one.repository, one.delivery.traceparent)
        for one in recognised
        if one.delivery.id in stored
    ]


def _outcome(delivery: StoredDelivery, outcome: str, reason: str, repository_id: int | None) -> Row:
    return {"delivery_id": delivery.id, "outcome": outcome, "reason": reason, "repository_id": repository_id}


def _event_row(one: _Recognised) -> Row:
    return {
        **one.event.as_row(),
        "delivery_id": one.delivery.id,
        "repository_id": one.repository.id,
        "received_at": one.delivery.received_at,
        "what": _what(one.event),
    }


def _what(event: Event) -> str:
    if event.kind is EventKind.PULL_REQUEST:
        return f"Pull request {event.pull_request}: {event.action}."
    verb = "Deletion" if event.deleted else "Push"
    return (
        f"{verb} of {'tag' if event.kind is EventKind.TAG else 'branch'} "
        f"{shown(event.tag or event.branch or '')}."
    )
