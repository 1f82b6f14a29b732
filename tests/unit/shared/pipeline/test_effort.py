"""Tests that the work of the loader is proportional to the document, and that it raises its own error alone.

The work is counted in executed lines of Python, so the tests do not depend on the speed of the machine. A
document's size is the number of its YAML events, with aliases followed. A bare parse of the events takes
about 2 microseconds for each event, and an executed line 0.1, so 400 lines for each event are 20 times that.
"""

import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yaml import events
from yaml._yaml import CParser
from yaml.error import YAMLError

from docs.language import keys_of
from shared.pipeline.grammar import PIPELINE
from shared.pipeline.yaml import DEPTH_LIMIT, NODE_LIMIT
from tests.unit.shared.pipeline.documents import MINIMAL, as_yaml, codes_in, problems_in, with_job, with_top
from tests.unit.shared.pipeline.test_properties import told

LINES_FOR_EACH_EVENT = 400
LINES_FOR_ANY_DOCUMENT = 2_000

HEAD, _, _ = MINIMAL.partition("  test:")
JOB = "{ steps: [{ run: x }] }"


def jobs(count: int, job: str) -> str:
    """Return a pipeline with this many jobs. `{i}` in the job is its number."""
    return HEAD + "".join(f"  job{i}: {job.replace('{i}', str(i))}\n" for i in range(count))


def bomb(levels: int) -> str:
    """Return aliases of aliases: ten times as many nodes in each level."""
    first = f"x-0: &a0 [{', '.join('x' * 10)}]\n"
    return first + "".join(f"x-{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, levels))


HOSTILE = {
    "256 jobs": jobs(256, JOB),
    "256 jobs by an alias": jobs(256, "*job").replace("*job", f"&job {JOB}", 1),
    "10,000 nested brackets": "[" * 10_000 + "]" * 10_000,
    "10,000 nested brackets in a free key": with_top("x-a: " + "[" * 10_000 + "]" * 10_000),
    "10,000 nested brackets in an expression": MINIMAL.replace("make test", "${{ " + "(" * 10_000 + " }}"),
    "anchors of 100,000 nodes": bomb(5),
    "anchors of 10,000 nodes that are used": bomb(4) + with_top("env: *a3"),
    "an anchor of many nodes in each job": jobs(99, "{ env: *env, steps: [{ run: x }] }").replace(
        "*env", f"&env {{ {', '.join(f'A{i}: x' for i in range(80))} }}", 1
    ),
    "a key of 64 KiB": "k" * (64 << 10) + ": 1",
    "an explicit key of 64 KiB": f"? {'k' * (64 << 10)}\n: 1\n",
    "a variable's name of 64 KiB": with_top(f"env: {{ ? {'K' * (64 << 10)} : x }}"),
    "a job's name of 64 KiB": HEAD + f"  ? {'k' * (64 << 10)}\n  : {JOB}\n",
    "an unknown key of 64 KiB in a job": with_job(f"? {'k' * (64 << 10)}\n: x"),
    "10,000 unknown keys": "\n".join(f"key{i}: 1" for i in range(10_000)),
    "99 unknown keys": with_top("\n".join(f"repositor{i}: 1" for i in range(99))),
    "10,000 unknown keys in a job": with_job("\n".join(f"key{i}: 1" for i in range(9_900))),
    "99 unknown keys in a job": with_job("\n".join(f"kubernete{i}: 1" for i in range(99))),
    "needs that are almost there": jobs(98, "{ needs: [jop{i}], steps: [{ run: x }] }"),
    "needs of long names that are almost there": HEAD
    + "".join(
        f"  {'job' * 19}{i}: {{ needs: [{'jop' * 19}{i}], steps: [{{ run: x }}] }}\n" for i in range(98)
    ),
    "needs that all wait for one another": jobs(
        98, f"{{ needs: [{', '.join(f'job{k}' for k in range(98))}], steps: [{{ run: x }}] }}"
    ),
    "globs": MINIMAL.replace("push: {}", f"push: {{ tags: [{', '.join([repr('[a-z]' * 51)] * 100)}] }}"),
    "images that are almost right": jobs(99, f"{{ image: {'a-' * 250}!, steps: [{{ run: x }}] }}"),
}


def events_in(text: str) -> int:
    """Return the number of events with aliases followed, up to the limit that the loader has too."""
    parser = CParser(text.encode())
    sizes: dict[str, int] = {}
    opened: list[tuple[str | None, int]] = []
    total = 0
    try:
        while total <= NODE_LIMIT and len(opened) <= DEPTH_LIMIT and parser.check_event():
            event: Any = parser.get_event()
            total += sizes.get(str(event.anchor), 1) if isinstance(event, events.AliasEvent) else 1
            if isinstance(event, events.CollectionStartEvent):
                opened.append((event.anchor, total - 1))
            elif isinstance(event, events.CollectionEndEvent):
                anchor, start = opened.pop()
                if anchor is not None:
                    sizes[anchor] = total - start
    except YAMLError:
        return total
    finally:
        parser.dispose()
    return total


def lines_to_load(text: str) -> int:
    """Return how many lines of Python run until the text is loaded or refused."""
    count = 0

    def trace(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        problems_in(text)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in HOSTILE.items()])
def test_the_work_is_proportional_to_the_document(text: str) -> None:
    allowed = LINES_FOR_ANY_DOCUMENT + LINES_FOR_EACH_EVENT * events_in(text)
    assert lines_to_load(text) <= allowed


@pytest.mark.parametrize("levels", [5, 50])
def test_an_alias_takes_the_same_work_for_any_anchor(levels: int) -> None:
    """The document is refused before the nodes of its anchors are visited."""
    text = bomb(levels)
    assert codes_in(text) == ["too_many_nodes"]
    assert lines_to_load(text) <= LINES_FOR_ANY_DOCUMENT + LINES_FOR_EACH_EVENT * text.count("*")


def test_the_count_grows_with_the_work() -> None:
    assert lines_to_load(jobs(90, JOB)) > 5 * lines_to_load(jobs(10, JOB))


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("256 jobs", "too_many"),
        ("10,000 nested brackets", "too_deep"),
        ("10,000 nested brackets in a free key", "too_deep"),
        ("anchors of 100,000 nodes", "too_many_nodes"),
        ("a key of 64 KiB", "yaml_syntax"),
        ("a variable's name of 64 KiB", "bad_env_name"),
        ("a job's name of 64 KiB", "bad_name"),
        ("an unknown key of 64 KiB in a job", "unknown_key"),
        ("10,000 unknown keys", "too_many_nodes"),
        ("10,000 unknown keys in a job", "unknown_key"),
    ],
)
def test_the_error_of_a_hostile_document_is_clear(name: str, code: str) -> None:
    assert code in codes_in(HOSTILE[name])
    assert all(len(problem.model_dump_json()) < 1000 for problem in problems_in(HOSTILE[name]))


def test_the_nearest_key_is_named_in_any_document_of_a_usual_size() -> None:
    text = jobs(20, "{ stpes: [{ run: x }], image: python:3.12, timeout: 20m, env: { LEVEL: quick } }")
    unknown = [problem for problem in problems_in(text) if problem.code == "unknown_key"]
    assert len(unknown) == 20
    assert all('Did you mean "steps"?' in problem.message for problem in unknown)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(
        ["main", "octo/web", "20m", "${{ matrix.x }}", "${{", "!x", "x-", "success()", "[a", "**/"]
    )
)
words = st.sampled_from(
    [*sorted({key for _, key, _, _ in keys_of(PIPELINE)}), "x-any", "test", "matrix", "outputs", "<<"]
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=6),
    max_leaves=40,
)


@given(st.dictionaries(words, values, max_size=8) | values)
@settings(max_examples=60, deadline=None)
def test_any_data_is_answered_with_proportional_work(document: Any) -> None:
    text = as_yaml(document)
    told(text)
    assert lines_to_load(text) <= LINES_FOR_ANY_DOCUMENT + LINES_FOR_EACH_EVENT * events_in(text)
