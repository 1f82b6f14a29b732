"""Every named query can be prepared on the migrated database and is used."""

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
    modules = (store, started_runs)
    source = "".join(Path(module.__file__).read_text(encoding="utf-8") for module in modules)
    assert [name for name in QUERIES if f'"{name}"' not in source] == []
