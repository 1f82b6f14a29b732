"""Every named query can be prepared on the migrated database and is used."""

import inspect
from pathlib import Path

import pytest

from services.scheduler import started_runs, store
from shared.database.store import Queries
from tests.integration.scheduler.world import World

QUERIES = Queries(Path(store.__file__).with_name("queries.sql").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", sorted(QUERIES))
async def test_a_query_can_be_prepared(world: World, name: str) -> None:
    await world.sql.prepare(QUERIES[name])


def test_every_query_is_used() -> None:
    source = inspect.getsource(store) + inspect.getsource(started_runs)
    assert [name for name in QUERIES if f'"{name}"' not in source] == []
