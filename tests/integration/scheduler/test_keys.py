"""Unique keys of the tables guarantee one run for one event and pipeline."""

import asyncpg
import pytest

from tests.harness.github import push
from tests.integration.scheduler.world import World


async def test_a_second_run_for_one_event_and_pipeline_is_refused_by_the_table(world: World) -> None:
    await world.repository()
    await world.pipeline()
    await world.deliver(push(world.octo_web))
    await world.only_run()
    columns = (
        "pipeline_config_id, revision_id, event_id, rerun, triggered_by, repository_id, event_kind, "
        "timeout_seconds"
    )
    with pytest.raises(asyncpg.UniqueViolationError):
        await world.sql.execute(
            f"INSERT INTO pipeline_runs ({columns}, number) SELECT {columns}, 99 FROM pipeline_runs"
        )
