"""Tests of the reference for users: its pipelines load, and it lists every key and every error code."""

from pathlib import Path

from shared.pipeline.compound_rules import List, Record, Switchable, Table
from shared.pipeline.grammar import PIPELINE
from shared.pipeline.load import load
from shared.pipeline.rules import Rule
from tests.unit.shared.pipeline.test_refusals import LATER, REFUSED
from tests.unit.shared.pipeline.test_yaml import READABLE, UNREADABLE

REFERENCE = (Path(__file__).parents[4] / "docs" / "pipeline.md").read_text(encoding="utf-8")


def keys(rule: Rule) -> set[str]:
    """Return all keys that the language defines below this rule."""
    match rule:
        case Record():
            return set(rule.fields).union(*(keys(field) for field in rule.fields.values()))
        case Table():
            return keys(rule.value)
        case List():
            return keys(rule.item)
        case Switchable():
            return keys(rule.record)
        case _:
            return set()


def test_its_pipelines_load() -> None:
    examples = [
        block.removeprefix("yaml\n") for block in REFERENCE.split("```") if block.startswith("yaml\nversion:")
    ]
    assert len(examples) >= 2
    for example in examples:
        assert load(example).jobs


def test_it_names_every_key() -> None:
    names = keys(PIPELINE) | {key for key, _, _ in LATER}
    assert {name for name in names if name not in REFERENCE} == set()


def test_it_names_every_code() -> None:
    codes = (
        {code for _, code, _ in REFUSED}
        | {code for _, code, _, _ in UNREADABLE}
        | {code for _, code, _, _ in READABLE}
    )
    assert {code for code in codes if f"`{code}`" not in REFERENCE} == set()
