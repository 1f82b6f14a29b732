"""Approvals of runs of pull requests from forks, through the API."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.integration.gateway.history import History
from tests.integration.gateway.serving import Serving
from tests.integration.gateway.test_runs import Story

SOON = datetime(2026, 12, 1, tzinfo=UTC)


@pytest.fixture
def served(shared_gateway: Serving) -> Serving:
    return shared_gateway


@pytest.fixture
async def story(served: Serving, history: History) -> Story:
    return await Story(served, history).begin()


async def test_only_maintainers_of_the_repository_approve(story: Story) -> None:
    event_id = await story.history.event(
        story.repository["id"], kind="pull_request", pull_request=7, trusted=False, merge_sha="b" * 40
    )
    run_id = await story.run(
        event_id=event_id, event_kind="pull_request", fork_policy="approve", approval_expires_at=SOON
    )
    path = f"/runs/{run_id}/approve"
    (await story.viewer.post(path)).expect(403)
    (await story.owner.post(path)).expect(403)
    (await story.stranger.post(path)).expect(404)
    shown = (await story.viewer.get(f"/runs/{run_id}")).expect(200).json
    assert (shown["trusted"], shown["approval"]["state"]) == (False, "waiting")
    assert "no secrets" in shown["trust"]
    command = (await story.maintainer.post(path)).expect(202).json
    assert (command["kind"], set(command["arguments"].values())) == ("approve", {None})
    connection = story.history.connection
    (entry,) = await connection.fetch("SELECT * FROM audit_log WHERE object = $1", f"run:{run_id}")
    assert entry["action"] == "run.approve"
    assert entry["details"] == {
        "sha": "a" * 40,
        "merge_sha": "b" * 40,
        "revision_id": shown["revision_id"],
    }
    (await story.served.admin.post(path)).expect(202)


async def test_a_refused_approval_says_why(story: Story) -> None:
    trusted = await story.run()
    problem = (await story.maintainer.post(f"/runs/{trusted}/approve")).expect(409).json
    assert problem["type"].endswith("approval_not_needed")
    shown = (await story.viewer.get(f"/runs/{trusted}")).expect(200).json
    assert (shown["trusted"], shown["trust"], shown["approval"]) == (True, None, None)


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"status": "cancelled", "reason": "superseded"}, "void"),
        ({"status": "cancelled", "reason": "rejected"}, "expired"),
        ({"status": "cancelled", "reason": "cancelled_by_user"}, "cancelled"),
        ({"status": "running", "approved_at": datetime(2026, 11, 20, tzinfo=UTC)}, "approved"),
    ],
)
async def test_the_state_of_an_approval_is_shown(story: Story, fields: dict[str, Any], state: str) -> None:
    run_id = await story.run(fork_policy="approve", approval_expires_at=SOON, **fields)
    assert (await story.owner.get(f"/runs/{run_id}")).json["approval"]["state"] == state
