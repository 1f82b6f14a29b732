"""What becomes of deliveries: read, recognised and stored as events, a whole batch at a time.

The caller holds the transaction.

Locks are taken in one order (identities, pull requests, events, runs, run numbers), so that replicas wait for
one another but never in a circle.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import zstandard

from services.scheduler.forges import Malformed, Reading, normalise
from services.scheduler.identities import KnownRepository, Lesson, Unrecognised, lesson, recognise
from services.scheduler.revisions import Revisions
from services.scheduler.starting import Happening, start_runs, supersede
from services.scheduler.store import Row, SchedulerWork, StoredDelivery
from services.scheduler.wording import shown
from shared.events import Event, EventKind, Ignored

_LARGEST_BODY_BYTES = 96 * 1024**2
"""The largest payload that GitHub sends, 25 MiB, takes three times as much as a form."""

_decompressor = zstandard.ZstdDecompressor()  # for the event loop alone: it is not safe in threads


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of the deliveries that were asked for."""

    seen: frozenset[int]
    """Those looked at; the rest did not fit into memory, or do not exist."""
    failed: frozenset[int] = frozenset()
    """Those that could not be read, in this batch or before."""
    made_ready: bool = False
    """Whether admission may have something to do."""


@dataclass(frozen=True, slots=True)
class _Recognised:
    """An event of a registered repository."""

    delivery: StoredDelivery
    event: Event
    repository: KnownRepository


async def decide_deliveries(work: SchedulerWork, revisions: Revisions, ids: Sequence[int]) -> Batch:
    """Decides the first of these deliveries.

    Safe to repeat, late, twice and at the same time: an event is stored once.

    A decided delivery is left alone, unless it came again after it was about no registered repository.
    """
    deliveries = await work.deliveries(ids)
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
    happenings = await _store_events(work, recognised)
    if outcomes:
        await work.insert_outcomes(outcomes)
    superseded = await supersede(work, happenings)
    started = await start_runs(work, revisions, happenings)
    return Batch(frozenset(delivery.id for delivery in deliveries), frozenset(failed), superseded or started)


async def record_failure(work: SchedulerWork, delivery_id: int, fault: str) -> None:
    """The delivery breaks the code that decides it: it is not tried again."""
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
    """The deliveries that can be read, and the outcomes of those that can't."""
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
    """Whom each delivery is about.

    What is learned on the way is stored first and read again: another replica may have learned otherwise.
    """
    named = {(r.forge, r.forge_id, r.full_name) for _, reading in readings if (r := reading.repository)}
    hook_keys = {delivery.hook_key for delivery, _ in readings if delivery.hook_key is not None}
    if not named:
        return {delivery.id: recognise(reading, delivery.hook_key, ()) for delivery, reading in readings}
    known = await work.repositories(named, hook_keys)
    found = {delivery.id: recognise(reading, delivery.hook_key, known) for delivery, reading in readings}
    lessons: list[Lesson] = []
    for delivery, reading in readings:
        about = found[delivery.id]
        if isinstance(about, KnownRepository):
            new = lesson(reading, about, by_own_hook=delivery.hook_key is not None)
            lessons += [] if new is None else [new]
    if lessons:
        await work.learn(lessons)
        known = await work.repositories(named, hook_keys)
        found = {delivery.id: recognise(reading, delivery.hook_key, known) for delivery, reading in readings}
    return found


async def _store_events(work: SchedulerWork, recognised: Sequence[_Recognised]) -> list[Happening]:
    """Stores events with their outcomes.

    Only what this transaction stored is returned: another replica may have decided the rest meanwhile.
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
        Happening(stored[one.delivery.id], one.event, one.repository)
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
