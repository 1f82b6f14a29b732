"""Dead letters: kept once for each queue, listed, and marked when they are replayed."""

import hashlib
from collections.abc import Sequence
from typing import Any

import asyncpg

from shared.db import Work


class DeadLettersWork(Work):
    async def insert_dead_letter(self, death: tuple[str, str, str], kind: str, message: bytes) -> None:
        """`death`: queue, cause, detail. A letter that was replayed is open again."""
        await self._run("insert_dead_letter", *death, kind, message, hashlib.sha256(message).digest())

    async def list_dead_letters(
        self, before: int, limit: int, filters: Sequence[Any]
    ) -> list[asyncpg.Record]:
        """`filters`: queue, whether it was replayed."""
        return await self._rows("list_dead_letters", before, limit, *filters)

    async def dead_letter(self, letter_id: int) -> asyncpg.Record | None:
        return await self._row("one_dead_letter", letter_id)

    async def mark_replayed(self, letter_id: int, user_id: int) -> bool:
        """False: it was replayed before, and has not died since."""
        return await self._run("mark_replayed", letter_id, user_id) > 0
