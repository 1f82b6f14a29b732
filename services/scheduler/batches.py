"""Batches with per-item fallback: a row that breaks the code does not block the others."""

from collections.abc import Awaitable, Callable, Sequence

import structlog

from services.scheduler.store import ROW_FAULTS
from shared.tracing import traced

_log = structlog.get_logger()


async def all_or_each(
    ids: Sequence[int], act: Callable[[Sequence[int]], Awaitable[None]]
) -> dict[int, Exception]:
    """Calls `act` for all ids, in one transaction. If that fails, calls it for each id separately.

    Returns the ids that fail alone, with their errors. These are logged, and their rows stay unchanged.
    Raises Transient.
    """
    if not ids:
        return {}
    with traced():
        try:
            await act(ids)
            return {}
        except ROW_FAULTS as fault:
            if len(ids) == 1:
                _log.exception("row_not_handled", what=act.__name__, id=ids[0])
                return {ids[0]: fault}
    failed: dict[int, Exception] = {}
    for one in ids:
        failed |= await all_or_each([one], act)
    return failed
