"""Tests of `towpath pipelines preview`."""

import json
from pathlib import Path
from typing import Any

from tests.unit.cli.conftest import Towpath
from tests.unit.cli.fake_api import FakeApi, Told

RUN = {"outcome": "run", "reasons": [{"code": "matched", "text": "It matches."}]}
JOBS = [
    {"key": "test (1)", "name": "test (1)", "needs": [], "outcome": "run", "why": None},
    {"key": "ship", "name": "ship", "needs": [], "outcome": "skipped", "why": "if: false"},
]
EVENT: dict[str, Any] = {
    "event_id": 5, "kind": "push", "action": None, "repository": "octo/web", "ref": "refs/heads/main",
    "branch": "main", "tag": None, "base_branch": None, "pull_request": None, "sha": "a" * 40,
    "received_at": "2026-11-23T12:00:00.000000Z", "was": None, "changed": True,
    "would_be": {**RUN, "jobs": JOBS, "group": None, "priority": 0},
}  # fmt: skip
DROPPED = {**EVENT, "event_id": 4, "was": {**RUN, "revision_id": 1, "run_id": 2}, "would_be": None}


def test_the_difference_is_a_table(api: FakeApi, towpath: Towpath, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("version: 1\n")
    api.answer("POST", "/pipelines/9/preview", Told(body={"items": [EVENT, DROPPED]}))
    result = towpath("pipelines", "preview", "p.yaml", "--pipeline", "9", "--last", "2")
    assert api.asked[0].body == {"yaml_config": "version: 1\n", "events": 2}
    first, second, total = result.out.splitlines()[1:]
    assert "nothing -> run" in first
    assert "test (1), ship (skipped)" in first
    assert "ship: if: false" in first
    assert "run -> nothing" in second
    assert "does not name the repository" in second
    assert total == "2 of 2 decisions would be different"


def test_programs_get_json(api: FakeApi, towpath: Towpath, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("version: 1\n")
    api.answer("POST", "/pipelines/preview", Told(body={"items": []}))
    result = towpath("pipelines", "preview", "p.yaml", "--event", "3", "--event", "4", "--format", "json")
    assert api.asked[0].body["event_ids"] == [3, 4]
    assert json.loads(result.out) == {"items": []}
