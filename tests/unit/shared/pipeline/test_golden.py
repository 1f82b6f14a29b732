"""Tests that the expansion of pipelines from the documents is what the committed files say.

After a change that is meant, write the files again with `python -m tests.unit.shared.pipeline.test_golden`,
and read the difference before it is committed.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from shared.events import Event, EventKind, context
from shared.pipeline.expansion import Expansion, expand
from shared.pipeline.load import load

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
EXAMPLES = HERE.parents[3] / "docs" / "examples"
SHA = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
BEFORE = "ec26c3e57ca3a959ca5aad62de7213c562f8c821"

PUSH = Event(
    kind=EventKind.PUSH,
    repository="octo/web",
    trusted=True,
    ref="refs/heads/main",
    branch="main",
    sha=SHA,
    before_sha=BEFORE,
    message="a change",
    sender_login="mona",
    happened_at=datetime(2026, 11, 20, tzinfo=UTC),
)
TAG = Event(
    kind=EventKind.TAG,
    repository="octo/tool",
    trusted=True,
    ref="refs/tags/v1.2.0",
    tag="v1.2.0",
    sha=SHA,
    sender_login="mona",
)
PULL_REQUEST = Event(
    kind=EventKind.PULL_REQUEST,
    repository="octo/web",
    trusted=True,
    action="synchronize",
    branch="topic",
    base_branch="main",
    sha=SHA,
    pull_request=12,
    title="A change",
    sender_login="mona",
)
EVENTS = {"release": TAG, "java": PULL_REQUEST, "node": PULL_REQUEST}
"""The events of the documents that don't get PUSH."""
DOCUMENTS = {path.stem: path for path in [*sorted(EXAMPLES.glob("*.yaml")), GOLDEN / "language.yaml"]}


def golden_of(name: str) -> Path:
    return GOLDEN / f"{name}.json"


def expanded(name: str) -> str:
    """Return the expansion as text, one value a line, so that a difference shows what changed."""
    pipeline = load(DOCUMENTS[name].read_text(encoding="utf-8"))
    return json.dumps(as_data(expand(pipeline, context(EVENTS.get(name, PUSH)), {})), indent=1) + "\n"


def as_data(expansion: Expansion) -> dict[str, Any]:
    """Return the expansion as JSON values. Fields of jobs that have their defaults are left out."""
    return {
        "priority": expansion.priority,
        "group": expansion.group,
        "jobs": [
            {
                "job": one.job.model_dump(mode="json", exclude_defaults=True),
                "needs": list(one.needs),
                "problem": one.problem,
                "condition": one.condition,
                "is_skipped": one.is_skipped,
            }
            for one in expansion.jobs
        ],
    }


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_expansion_is_the_golden_one(name: str) -> None:
    assert expanded(name) == golden_of(name).read_text(encoding="utf-8")


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(DOCUMENTS)


if __name__ == "__main__":
    for document in DOCUMENTS:
        golden_of(document).write_text(expanded(document), encoding="utf-8")
