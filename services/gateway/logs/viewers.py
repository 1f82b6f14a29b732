"""Ends log streams and downloads when their user loses access.

Token and access to the run are checked when a request arrives. A long-lasting answer is checked again every
`CHECK_SECONDS`, with one statement for all of them. It ends when the token was revoked or has expired, the
user was disabled, or the user may no longer see the run. While Postgres is unavailable nobody can withdraw
access, and the answers continue.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

import structlog

from services.gateway.store import GatewayStore
from shared.errors import Transient

_log = structlog.get_logger()

CHECK_SECONDS = 2.0
"""Together with the statement and the end of the answer this stays below the guaranteed 5 s."""


@dataclass(eq=False, slots=True)
class _Viewer:
    token_id: int
    run_id: int
    answer: "asyncio.Task[None]"
    has_lost_access: bool = False


class Viewers:
    """The open log streams and downloads of this gateway."""

    def __init__(self, store: GatewayStore) -> None:
        self._store = store
        self._open: set[_Viewer] = set()

    async def view(self, token_id: int, run_id: int, answer: Coroutine[Any, Any, None]) -> bool:
        """Run the answer to its end. Return False if it was ended because access was lost.

        Raises the exceptions of the answer.
        """
        viewer = _Viewer(token_id, run_id, asyncio.ensure_future(answer))
        self._open.add(viewer)
        try:
            await viewer.answer
        except asyncio.CancelledError:
            request = asyncio.current_task()
            if viewer.has_lost_access and (request is None or not request.cancelling()):
                return False
            raise
        finally:
            self._open.discard(viewer)
        return True

    async def check(self) -> None:
        """End the answers of viewers who lost access. Raises Transient."""
        viewers = list(self._open)
        if not viewers:
            return
        async with self._store.reading() as work:
            allowed = await work.viewers_allowed([(viewer.token_id, viewer.run_id) for viewer in viewers])
        for viewer in viewers:
            if (viewer.token_id, viewer.run_id) not in allowed:
                _log.info("viewer_lost_access", token_id=viewer.token_id, run_id=viewer.run_id)
                viewer.has_lost_access = True
                viewer.answer.cancel()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            try:
                await self.check()
            except Transient as error:
                _log.info("viewers_not_checked", why=str(error))
