"""A pipeline that makes the scheduler's code fail gets an error of its own, and no other pipeline does."""

from typing import Any

import pytest

from services.scheduler import planning, starting
from shared.pipeline.model import Pipeline
from tests.harness.github import push
from tests.integration.scheduler.world import ONE_JOB, World

BREAKING = f"name: breaking\n{ONE_JOB.lstrip()}"


def break_for(monkeypatch: pytest.MonkeyPatch, module: Any, name: str, position: int) -> None:
    """Let a function of the module fail for the pipeline with this name, which is the argument `position`."""
    original = getattr(module, name)

    def failing(*arguments: Any, **options: Any) -> Any:
        pipeline: Pipeline = arguments[position]
        if pipeline.name == "breaking":
            raise RecursionError("a bug")
        return original(*arguments, **options)

    monkeypatch.setattr(module, name, failing)


async def deliver_to_both(world: World) -> None:
    await world.repository()
    await world.pipeline(BREAKING)
    await world.pipeline(ONE_JOB)
    await world.deliver(push(world.octo_web))


async def test_a_plan_that_fails_is_an_error_of_its_own_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_for(monkeypatch, planning, "expand", 0)
    await deliver_to_both(world)
    rows = await world.rows(
        """SELECT r.status, r.reason, j.status AS job, j.message FROM pipeline_runs r
             JOIN jobs j ON j.run_id = r.id ORDER BY r.id"""
    )
    assert [(row["status"], row["reason"], row["job"]) for row in rows] == [
        ("error", "platform", "error"),
        ("pending", None, "pending"),
    ]
    assert rows[0]["message"] == (
        "The scheduler failed to plan this run (RecursionError). This is a bug of Towpath; its log has more."
    )


async def test_a_decision_that_fails_has_a_sentence_and_the_others_are_made(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_for(monkeypatch, starting, "decide", 1)
    await deliver_to_both(world)
    rows = await world.rows("SELECT outcome, reasons::text FROM decisions ORDER BY pipeline_config_id")
    assert [row["outcome"] for row in rows] == ["not_matched", "run"]
    assert "The scheduler failed to decide (RecursionError)." in rows[0]["reasons"]
    assert len(await world.rows("SELECT 1 FROM pipeline_runs")) == 1
