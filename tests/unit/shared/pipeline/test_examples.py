"""Tests of the pipelines in docs/examples: each loads, says what it is for, and is stored unchanged."""

import re
from pathlib import Path

import pytest

from shared.pipeline.empty_groups import find
from shared.pipeline.load import load
from shared.pipeline.model import Pipeline
from tests.unit.shared.pipeline.documents import problems_in

FOLDER = Path(__file__).parents[4] / "docs" / "examples"
EXAMPLES = sorted(FOLDER.glob("*.yaml"))
REFERENCE = (FOLDER.parent / "pipeline.md").read_text(encoding="utf-8")
KEYS = (
    "matrix", "include", "exclude", "max_parallel", "fail_fast", "if", "outputs", "allow_failure", "retry",
    "script", "env", "concurrency", "services", "checkout", "defaults", "priority",
)  # fmt: skip
"""Keys of which there has to be an example."""

every_example = pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in EXAMPLES])


def test_there_is_an_example_of_each_kind_of_project() -> None:
    assert {path.stem for path in EXAMPLES} == {
        *("python", "node", "go", "rust", "java", "monorepo", "database-service", "release"),
    }


@every_example
def test_an_example_loads(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert problems_in(text) == ()
    pipeline = load(text)
    assert pipeline.name
    assert pipeline.jobs


@every_example
def test_an_example_is_stored_and_read_back_unchanged(path: Path) -> None:
    pipeline = load(path.read_text(encoding="utf-8"))
    assert Pipeline.model_validate_json(pipeline.model_dump_json()) == pipeline


@every_example
def test_the_group_of_an_example_is_never_empty(path: Path) -> None:
    pipeline = load(path.read_text(encoding="utf-8"))
    assert find(pipeline.concurrency, pipeline.on) == []


@every_example
def test_an_example_begins_with_its_purpose_and_is_in_the_reference(path: Path) -> None:
    head, found, _ = path.read_text(encoding="utf-8").partition("version: 1\n")
    lines = head.splitlines()
    assert found
    assert lines
    assert all(line.startswith("# ") for line in lines)
    assert 1 <= len(re.findall(r"\.(?:\s|$)", head)) <= 2
    assert f"(examples/{path.name})" in REFERENCE


def test_every_key_for_jobs_has_an_example() -> None:
    texts = "\n".join(path.read_text(encoding="utf-8") for path in EXAMPLES)
    missing = [key for key in KEYS if not re.search(rf"(?:^|[\s{{,-]){key}:", texts, re.MULTILINE)]
    assert missing == []
