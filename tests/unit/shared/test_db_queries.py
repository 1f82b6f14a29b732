"""Tests of named queries: every statement of a file is found by its name."""

from pathlib import Path

import asyncpg
import pytest

from shared.database.store import Queries, database_faults
from shared.errors import Transient

TEXT = """-- name: first
-- What it is for.
SELECT 1;

-- name: second
-- $1 id.
UPDATE t
   SET a = $1;  -- why
"""


def test_each_statement_is_found_by_its_name() -> None:
    queries = Queries(TEXT)
    assert list(queries) == ["first", "second"]
    assert len(queries) == 2
    assert queries["first"].endswith("SELECT 1;")
    assert queries["second"].startswith("-- $1 id.\nUPDATE t")


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(KeyError):
        Queries(TEXT)["third"]


def test_one_name_for_two_statements_is_refused() -> None:
    with pytest.raises(ValueError, match="one name"):
        Queries(TEXT + TEXT)


def test_what_several_statements_say_alike_stands_once() -> None:
    parts = "-- part: mine\n-- $1 user.\nowner = $1\n\n-- part: all\n*\n"
    queries = Queries(
        f"{parts}-- name: first\nSELECT a::mine WHERE :mine AND :minefield;\n-- name: second\nSELECT :all "
        "WHERE :mine\n"
    )
    assert dict(queries) == {
        "first": "SELECT a::mine WHERE -- $1 user.\nowner = $1 AND :minefield;",
        "second": "SELECT * WHERE -- $1 user.\nowner = $1",
    }


def test_a_part_and_a_statement_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="one name"):
        Queries("-- part: first\nx\n" + TEXT)


def test_the_file_beside_a_module_is_read(tmp_path: Path) -> None:
    (tmp_path / "queries.sql").write_text(TEXT)
    assert set(Queries.beside(str(tmp_path / "store.py"))) == {"first", "second"}


@pytest.mark.parametrize(
    "away",
    [
        ConnectionRefusedError(),
        TimeoutError(),
        asyncpg.AdminShutdownError("said so"),
        asyncpg.CannotConnectNowError("said so"),
        asyncpg.ConnectionDoesNotExistError("said so"),
        asyncpg.DeadlockDetectedError("said so"),
        asyncpg.DiskFullError("said so"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.LockNotAvailableError("said so"),
        asyncpg.QueryCanceledError("said so"),
        asyncpg.SerializationError("said so"),
        asyncpg.TooManyConnectionsError("said so"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_says_the_database_is_away_is_transient(away: Exception) -> None:
    with pytest.raises(Transient), database_faults():
        raise away


@pytest.mark.parametrize(
    "bug",
    [
        asyncpg.UniqueViolationError("said so"),
        asyncpg.UndefinedColumnError("said so"),
        asyncpg.DataError("wrong type"),
        asyncpg.NotNullViolationError("said so"),
        KeyError("x"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_bug_stays_a_bug(bug: Exception) -> None:
    with pytest.raises(type(bug)), database_faults():
        raise bug
