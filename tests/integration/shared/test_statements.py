"""PostgreSQL can plan every named statement on the migrated schema.

Planning finds an error that preparing does not: an ON CONFLICT whose columns have no unique index.
`make chaos-mutants` runs this test to show that a mutated SQL file is still valid.
"""

import re

import asyncpg
import pytest

from devstack.stack import CHECKOUT
from shared.database.store import Queries

FILES = {
    path.relative_to(CHECKOUT).as_posix(): Queries(path.read_text(encoding="utf-8"))
    for folder in ("services", "shared", "bench")
    for path in sorted((CHECKOUT / folder).rglob("*.sql"))
    if path.parent.name != "sql"
}
PLANNED = {"SELECT", "WITH", "INSERT", "UPDATE", "DELETE"}
PLANTED = "INSERT INTO audit_log (action) VALUES ($1) ON CONFLICT (action) DO NOTHING"


def first_word(statement: str) -> str:
    return re.sub(r"--[^\n]*", "", statement).split(maxsplit=1)[0].upper()


def test_all_files_are_seen() -> None:
    assert {path.partition("/")[0] for path in FILES} == {"services", "shared", "bench"}
    assert all(FILES.values())


@pytest.mark.parametrize("path", FILES)
async def test_every_statement_can_be_planned(session_database_url: str, path: str) -> None:
    statements = FILES[path]
    connection = await asyncpg.connect(session_database_url)
    try:
        refused = [
            why for name in statements if (why := await why_refused(connection, name, statements[name]))
        ]
    finally:
        await connection.close()
    assert refused == []


async def test_a_conflict_without_a_unique_index_is_found(session_database_url: str) -> None:
    connection = await asyncpg.connect(session_database_url)
    try:
        why = await why_refused(connection, "planted", PLANTED)
        assert why.startswith("planted: InvalidColumnReferenceError")
    finally:
        await connection.close()


async def why_refused(connection: "asyncpg.Connection[asyncpg.Record]", name: str, statement: str) -> str:
    """Return why PostgreSQL cannot plan the statement, or an empty string. CREATE and SET have no plan."""
    if first_word(statement) not in PLANNED:
        return ""
    try:
        prepared = await connection.prepare(statement)
        await prepared.explain(*(None for _ in prepared.get_parameters()))
    except asyncpg.PostgresError as error:
        return f"{name}: {type(error).__name__}: {error}"
    return ""
