"""Rows that break the code hold up no others: what fails together is tried one by one, and what fails alone
is named and left as it is.
"""

from collections.abc import Awaitable, Callable, Sequence

import structlog

from services.scheduler.store import ROW_FAULTS

_log = structlog.get_logger()


async def all_or_each(
    ids: Sequence[int], act: Callable[[Sequence[int]], Awaitable[None]]
) -> dict[int, Exception]:
    """Acts on all of these in one transaction, which is `act`; where that breaks, on each in one of its own.

    Returns those that break alone, with what they broke with. Raises Transient.
    """
    if not ids:
        return {}
    try:
        await act(ids)
    except ROW_FAULTS as fault:
        if len(ids) == 1:
            _log.exception("row_not_handled", what=act.__name__, id=ids[0])
            return {ids[0]: fault}
        failed: dict[int, Exception] = {}
        for one in ids:
            failed |= await all_or_each([one], act)
        return failed
    return {}
