"""The table of dead letters: one row per message and queue, and a mark when it is replayed."""

import hashlib
from collections.abc import Sequence
from typing import Any

import asyncpg

from shared.database.store import Work


class DeadLettersWork(Work):
    async def insert_dead_letter(self, death: tuple[str, str, str], kind: str, message: bytes) -> None:
        """Store a dead letter. `death` is (queue, cause, detail).

        A letter that is stored already is updated. If it was replayed, it is open again.
        """
        await self._run("insert_dead_letter", *death, kind, message, hashlib.sha256(message).digest())

    async def list_dead_letters(
        self, before: int, limit: int, filters: Sequence[Any]
    ) -> list[asyncpg.Record]:
        """Return the newest dead letters. `filters` is (queue, whether it was replayed)."""
        return await self._rows("list_dead_letters", before, limit, *filters)

    async def dead_letter(self, letter_id: int) -> asyncpg.Record | None:
        return await self._row("one_dead_letter", letter_id)

    async def mark_replayed(self, letter_id: int, user_id: int) -> bool:
        """Mark a dead letter as replayed. Return False if it was replayed before and has not died since."""
        return await self._run("mark_replayed", letter_id, user_id) > 0
