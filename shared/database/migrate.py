"""Migrations: applies the numbered files of `shared/database/sql` in order. There is no downgrade.

Each file is applied once, even if several replicas start at the same time. A file that has changed since it
was applied is refused. The advisory lock is polled, because a session that waits in `pg_advisory_lock` would
deadlock with CREATE INDEX CONCURRENTLY.
"""

import asyncio
import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import structlog

from shared.backoff import backoff
from shared.database.store import Database, Queries
from shared.errors import Transient
from shared.logconfig import configure_logging
from shared.settings import DatabaseSettings, LogSettings

_log = structlog.get_logger()
_queries = Queries.beside(__file__)
_LOCK = 0x70775A7468  # an arbitrary number that no other program uses in this database
_DIRECTORY = Path(__file__).with_name("sql")


class MigrationRefused(Exception):
    """The database and the files do not agree. Nothing was changed."""


@dataclass(frozen=True)
class Migration:
    version: int
    name: str
    statements: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.statements.encode()).hexdigest()


def migrations(directory: Path = _DIRECTORY) -> list[Migration]:
    """Return the migrations in order. Raises MigrationRefused if a number is missing or used twice."""
    found = [
        Migration(int(path.name[:4]), path.stem, path.read_text(encoding="utf-8"))
        for path in sorted(directory.glob("[0-9]*.sql"))
    ]
    if [m.version for m in found] != list(range(1, len(found) + 1)):
        raise MigrationRefused("the numbers of the migrations must run 0001, 0002, … without a gap")
    return found


def new_installation_name() -> str:
    """Return 8 random base32 characters."""
    return "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz234567") for _ in range(8))


async def migrate(url: str) -> list[str]:
    """Apply all migrations that the database lacks, and return their names.

    Safe to repeat, and to run concurrently from several processes. Raises MigrationRefused and asyncpg's own
    errors.
    """
    connection = await asyncpg.connect(url, timeout=10)
    try:
        failures = 0
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
            failures += 1
            await asyncio.sleep(backoff(failures, most=1))
        try:
            return await _apply_missing(connection)
        finally:
            await connection.execute("SELECT pg_advisory_unlock($1)", _LOCK)
    finally:
        await connection.close()


async def _apply_missing(connection: Any) -> list[str]:
    await connection.execute(_queries["migrations_table"])
    applied = {
        row["version"]: row["checksum"] for row in await connection.fetch(_queries["migrations_applied"])
    }
    names = []
    for migration in migrations():
        if migration.version in applied:
            if applied[migration.version] != migration.checksum:
                raise MigrationRefused(
                    f"{migration.name} was applied in another form: migrations are never edited, add one"
                )
            continue
        async with connection.transaction():
            await connection.execute("SET LOCAL lock_timeout = '5s'")
            await connection.execute(migration.statements)
            await connection.execute(
                _queries["migration_record"], migration.version, migration.name, migration.checksum
            )
        names.append(migration.name)
        _log.info("migration_applied", name=migration.name)
    await connection.execute(_queries["installation_name"], new_installation_name())
    return names


async def until_migrated(database: Database) -> None:
    """Wait until the database has every migration of this release. It may have newer ones.

    Continue to wait while the database is unavailable.
    """
    wanted = len(migrations())
    failures = 0
    while True:
        try:
            async with database.connection() as connection:
                if await connection.fetchval(_queries["migrations_version"]) >= wanted:
                    return
            why = "migrations are missing"
        except (Transient, asyncpg.UndefinedTableError) as error:
            why = str(error)
        failures += 1
        _log.info("schema_awaited", version=wanted, why=why)
        await asyncio.sleep(backoff(failures, most=2))


def main() -> None:
    settings = DatabaseSettings()
    configure_logging(LogSettings(), "migrate")
    applied = asyncio.run(migrate(settings.database_url.get_secret_value()))
    _log.info("migrated", applied=applied, version=len(migrations()))


if __name__ == "__main__":
    main()
