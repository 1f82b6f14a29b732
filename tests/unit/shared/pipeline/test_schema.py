"""Tests that the published JSON Schema and the loader agree."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from shared.pipeline.schema import json_schema
from tests.unit.shared.pipeline.documents import as_yaml, codes_in, documents

VALIDATOR = Draft202012Validator(json_schema())
STRUCTURAL = {"unknown_key", "wrong_type", "missing_key", "empty", "too_many", "out_of_bounds"}
MISFITS: list[Any] = [None, [], {}, [[]], {"x": {}}, "x", True, 7, {"run": []}, [None] * 101]


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(json_schema())
    assert json.loads(json.dumps(json_schema())) == json_schema()


@given(documents())
@settings(max_examples=40)
def test_what_loads_validates(document: dict[str, Any]) -> None:
    assert codes_in(as_yaml(document)) == []
    VALIDATOR.validate(document)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in a document."""
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return [path, *(below for key, item in entries for below in places(item, (*path, key)))]


@st.composite
def damaged(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a valid document in which one value is replaced, removed, or gets an unknown key."""
    document: dict[str, Any] = copy.deepcopy(draw(documents()))
    *above, last = draw(st.sampled_from(places(document)[1:]))
    parent: Any = document
    for key in above:
        parent = parent[key]
    damage = draw(st.sampled_from(["replace", "remove", "add"]))
    if damage == "remove":
        del parent[last]
    elif damage == "add" and isinstance(parent, dict):
        parent["stranger"] = draw(st.sampled_from(MISFITS))
    else:
        parent[last] = draw(st.sampled_from(MISFITS))
    return document


@given(damaged())
@settings(max_examples=60)
def test_both_refuse_the_same_structures(document: dict[str, Any]) -> None:
    codes = codes_in(as_yaml(document))
    if VALIDATOR.is_valid(document):
        assert not STRUCTURAL.intersection(codes)
    else:
        assert codes


@pytest.mark.parametrize("key", ["matrix", "secrets", "colour"])
def test_the_schema_knows_no_key_that_does_nothing(key: str) -> None:
    job = {"steps": [{"run": "x"}], key: {}}
    assert not VALIDATOR.is_valid(
        {"version": 1, "repository": "octo/web", "on": {"push": None}, "jobs": {"test": job}}
    )
