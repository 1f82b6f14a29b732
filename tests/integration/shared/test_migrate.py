"""Each migration is applied once, even if several processes start together.

An edited migration is refused, and every query fits the schema.
"""

import asyncio
import contextlib
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from pydantic import SecretStr

from devstack.databases import create_database, drop_database, with_database
from shared.database import migrate as module
from shared.database.migrate import MigrationRefused, migrate, migrations, until_migrated
from shared.database.store import Database, Queries, open_database
from shared.errors import Transient
from shared.settings import DatabaseSettings
from shared.statuses import AttemptStatus

pytestmark = pytest.mark.containers

WITH_RUNNING = next(m.version for m in migrations() if m.name.endswith("_attempts_without_running")) - 1
"""The last schema in which attempts could have the status `running`."""
ROOT = Path(__file__).parents[3]
QUERY_FILES = sorted([*(ROOT / "shared").rglob("queries.sql"), *(ROOT / "services").rglob("*.sql")])


@pytest.fixture
async def empty_database_url(server_url: str) -> AsyncIterator[str]:
    name = f"empty_{secrets.token_hex(5)}"
    await create_database(server_url, name)
    yield with_database(server_url, name)
    await drop_database(server_url, name)


async def rows(url: str, query: str) -> list[tuple[object, ...]]:
    connection = await asyncpg.connect(url)
    try:
        return [tuple(row.values()) for row in await connection.fetch(query)]
    finally:
        await connection.close()


async def test_an_empty_database_gets_every_migration_and_a_name(empty_database_url: str) -> None:
    assert await migrate(empty_database_url) == [m.name for m in migrations()]
    [(name,)] = await rows(empty_database_url, "SELECT name FROM installation")
    assert re.fullmatch("[a-z2-7]{8}", str(name))


async def test_a_second_time_changes_nothing(empty_database_url: str) -> None:
    await migrate(empty_database_url)
    before = await rows(empty_database_url, "SELECT name FROM installation")
    assert await migrate(empty_database_url) == []
    assert await rows(empty_database_url, "SELECT name FROM installation") == before


async def test_eight_at_once_apply_each_migration_once(empty_database_url: str) -> None:
    applied = await asyncio.gather(*(migrate(empty_database_url) for _ in range(8)))
    assert sorted(name for names in applied for name in names) == [m.name for m in migrations()]


async def test_an_edited_migration_is_refused_and_nothing_is_changed(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tmp_path / "0001_boats.sql"
    first.write_text("CREATE TABLE installation (only_row boolean PRIMARY KEY DEFAULT true, name text);")
    monkeypatch.setattr(module, "migrations", lambda: migrations(tmp_path))
    await migrate(empty_database_url)
    first.write_text(first.read_text() + " -- better")
    (tmp_path / "0002_locks.sql").write_text("CREATE TABLE locks (id bigint);")
    with pytest.raises(MigrationRefused, match="0001_boats was applied in another form"):
        await migrate(empty_database_url)
    assert await rows(empty_database_url, "SELECT to_regclass('locks')") == [(None,)]


async def test_a_migration_that_fails_leaves_nothing_of_itself(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "0001_boats.sql").write_text(
        "CREATE TABLE boats (id bigint); CREATE TABLE broken (id no_such_type);"
    )
    monkeypatch.setattr(module, "migrations", lambda: migrations(tmp_path))
    with pytest.raises(asyncpg.UndefinedObjectError):
        await migrate(empty_database_url)
    assert await rows(empty_database_url, "SELECT to_regclass('boats')") == [(None,)]


def test_a_missing_number_is_refused(tmp_path: Path) -> None:
    for name in ("0001_a.sql", "0003_c.sql"):
        (tmp_path / name).write_text("SELECT 1;")
    with pytest.raises(MigrationRefused, match="without a gap"):
        migrations(tmp_path)


async def test_a_service_waits_for_its_schema(empty_database_url: str, database: Database) -> None:
    await asyncio.wait_for(until_migrated(database), 5)
    async with open_database(DatabaseSettings(database_url=SecretStr(empty_database_url))) as empty:
        waiting = asyncio.create_task(until_migrated(empty))
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        assert not done
        await migrate(empty_database_url)
        await asyncio.wait_for(waiting, 10)


@pytest.fixture
async def earlier_database_url(empty_database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a database that an earlier release has migrated and that has attempts."""
    ours = migrations()
    monkeypatch.setattr(module, "migrations", lambda: ours[:WITH_RUNNING])
    await migrate(empty_database_url)
    monkeypatch.setattr(module, "migrations", lambda: ours)
    connection = await asyncpg.connect(empty_database_url)
    try:
        await connection.execute(
            """SET session_replication_role = replica;  -- no foreign keys: the jobs are not inserted
            INSERT INTO attempts (job_id, number, status, cluster, creation_token)
            SELECT place, 1, status, 'local', '' FROM unnest('{creating,created,claimed,finished}'
                   ::attempt_status[]) WITH ORDINALITY AS every (status, place);
            INSERT INTO attempt_transitions (attempt_id, from_status, to_status)
            VALUES (1, NULL, 'creating'), (4, 'claimed', 'finished')"""
        )
    finally:
        await connection.close()
    return empty_database_url


async def test_attempts_of_an_earlier_release_keep_their_statuses(earlier_database_url: str) -> None:
    statuses = "SELECT job_id, status::text FROM attempts ORDER BY job_id"
    moves = "SELECT from_status::text, to_status::text FROM attempt_transitions ORDER BY id"
    before = [await rows(earlier_database_url, query) for query in (statuses, moves)]
    indexes = "SELECT indexname, indexdef FROM pg_indexes WHERE tablename LIKE 'attempt%' ORDER BY 1"
    indexed = await rows(earlier_database_url, indexes)
    await migrate(earlier_database_url)
    assert [await rows(earlier_database_url, query) for query in (statuses, moves)] == before
    assert set(indexed) <= set(await rows(earlier_database_url, indexes))
    types = "SELECT enumlabel FROM pg_enum JOIN pg_type t ON t.oid = enumtypid WHERE typname LIKE 'attempt%'"
    assert {label for (label,) in await rows(earlier_database_url, types)} == set(AttemptStatus)
    await rows(
        earlier_database_url,
        "INSERT INTO attempts (job_id, number, cluster, creation_token)"
        " SELECT job_id, 2, 'local', '' FROM attempts WHERE false",
    )


async def test_an_attempt_that_runs_stops_the_migration(earlier_database_url: str) -> None:
    connection = await asyncpg.connect(earlier_database_url)
    try:
        await connection.execute("UPDATE attempts SET status = 'running' WHERE status = 'claimed'")
    finally:
        await connection.close()
    with pytest.raises(asyncpg.InvalidTextRepresentationError, match="running"):
        await migrate(earlier_database_url)
    assert len(await rows(earlier_database_url, "SELECT version FROM schema_migrations")) == WITH_RUNNING


async def test_a_service_continues_on_connections_from_before_a_migration(earlier_database_url: str) -> None:
    statement = "SELECT id, status, 'claimed'::attempt_status FROM attempts WHERE status <> 'finished'"
    settings = DatabaseSettings(database_url=SecretStr(earlier_database_url), database_pool_size=1)
    async with open_database(settings) as database:

        async def unfinished() -> int:
            async with database.transaction() as connection:
                return len(await connection.fetch(statement))

        assert await unfinished() == 3
        await migrate(earlier_database_url)
        with contextlib.suppress(Transient):  # a handler is then called again
            await unfinished()
        assert await unfinished() == 3


def queries_of(path: Path) -> Queries:
    return Queries(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", QUERY_FILES, ids=lambda path: str(path.relative_to(ROOT)))
async def test_every_query_fits_the_schema(path: Path, database: Database) -> None:
    broken, queries = [], queries_of(path)
    async with database.connection() as connection:
        for name, statement in queries.items():
            try:
                await connection.prepare(statement)
            except asyncpg.PostgresError as error:
                broken.append(f"{name}: {error}")
    assert not broken, "\n".join(broken)
