"""Tests of path filters against a slow reference, and of their explanations."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
from wcmatch import glob

from shared.events import Event
from shared.forges import normalise
from shared.forges.changed_files import Unknown
from shared.matching import Circumstances, Decision, PatternBudget, decide
from shared.path_filters import FileSteps
from shared.pipeline.errors import PipelineInvalid
from shared.pipeline.model import Pipeline
from tests.harness.github import FakeRepository, new_sha, push
from tests.unit.shared.test_matching import HERE, PULL_REQUEST, PUSH, TAG, pipeline

FLAGS = glob.GLOBSTAR | glob.DOTGLOB | glob.FORCEUNIX | glob.CASE
OCTO_WEB = FakeRepository("octo/web")
MODEL = pipeline("{ push: {} }").model_dump()


def of(paths: str, *, kind: str = "push") -> Pipeline:
    return pipeline(f"{{ {kind}: {{ paths: {paths} }} }}")


def changed(*files: str) -> Event:
    return replace(PUSH, changed_files=files)


def answer(event: Event, paths: str) -> tuple[str, str]:
    decision = decide(event, of(paths), HERE)
    return decision.outcome.value, decision.reasons[-1].text


@pytest.mark.parametrize(
    ("files", "paths", "outcome", "text"),
    [
        (["src/a.py"], '["src/**"]', "run", "File `src/a.py` matches `src/**`."),
        (["src/a.py"], "src/*.py", "run", "File `src/a.py` matches `src/*.py`."),
        (
            ["docs/a b.md", "x"],
            '{ exclude: ["docs/**"] }',
            "run",
            "File `x` matches all files without `docs/**`.",
        ),
        (
            ["docs/a.md"],
            '{ exclude: ["docs/**"] }',
            "filtered",
            "The file that changed does not match all files without `docs/**`: `docs/a.md`.",
        ),
        (
            ["a", "b", "c", "d", "\x1b[31me"],
            '{ include: ["**", "!*"] }',
            "filtered",
            "None of the 5 files that changed matches `**`, `!*`: `a`, `b`, `c` and 2 more.",
        ),
        (["\x1b[31me"], "x", "filtered", "The file that changed does not match `x`: `\\x1b[31me`."),
        (["src/a.md"], '{ include: ["src/**"], exclude: ["**/*.md", "!src/a.md"] }', "run", "File"),
        ([], "[x]", "filtered", "The push changed no file, and the pipeline runs for `x` only."),
    ],
)
def test_the_changed_files_decide(files: list[str], paths: str, outcome: str, text: str) -> None:
    found = answer(changed(*files), paths)
    assert found[0] == outcome
    assert found[1].startswith(text)


@pytest.mark.parametrize("why", [*Unknown, None])
def test_an_incomplete_list_counts_as_matched_and_the_decision_says_why(why: Unknown | None) -> None:
    decision = decide(replace(PUSH, files_unknown=why), of("[never]"), HERE)
    assert decision.outcome == "run"
    assert [reason.code for reason in decision.reasons] == ["matched", "paths_unknown"]
    assert "counts as matched: the changed files are not known: " in decision.reasons[1].text
    assert why is None or "earlier release" not in decision.reasons[1].text


def test_pull_requests_count_as_matched() -> None:
    decision = decide(PULL_REQUEST, of("[never]", kind="pull_request"), HERE)
    assert decision.outcome == "run"
    assert decision.reasons[1].text == (
        "The path filter counts as matched: the changed files of pull requests are not known."
    )


def test_tags_ignore_paths_as_at_github() -> None:
    decision = decide(TAG, of("[never]"), HERE)
    assert (decision.outcome, [reason.code for reason in decision.reasons]) == ("run", ["matched"])


@pytest.mark.parametrize(
    ("event", "circumstances", "outcome"),
    [
        (replace(changed("x"), branch="dev"), HERE, "not_matched"),
        (replace(changed("x"), message="[skip ci]"), HERE, "skipped"),
        (changed("x"), replace(HERE, enabled=False), "skipped"),
        (changed("x"), replace(HERE, owner_may_use=False), "not_allowed"),
    ],
)
def test_filtered_is_only_what_paths_alone_exclude(
    event: Event, circumstances: Circumstances, outcome: str
) -> None:
    one = pipeline("{ push: { branches: [main], paths: [never] } }")
    assert decide(event, one, circumstances).outcome == outcome


Patterns = list[tuple[bool, str]]
"""Each pattern with whether it excludes."""
FOLDERS = ("src", "docs", "a", "b.md", ".x", "é")
PARTS = ("*", "**", "src", "docs", "a", "b.md", "*.md", "?", "[a-c]")


def slow_admits(patterns: Patterns, name: str) -> bool:
    """Return whether the last pattern that matches admits the name, as wcmatch matches."""
    last = [excludes for excludes, body in patterns if glob.globmatch(name, body, flags=FLAGS)]
    return bool(last) and not last[-1]


def written(patterns: Patterns) -> tuple[str, ...]:
    return tuple(f"!{body}" if excludes else body for excludes, body in patterns)


def a_name(chance: random.Random, parts: Sequence[str]) -> str:
    return "/".join(chance.choices(parts, k=chance.randint(1, 4)))


def some_patterns(chance: random.Random) -> Patterns:
    return [(chance.random() < 0.3, a_name(chance, PARTS)) for _ in range(chance.randint(0, 4))]


def a_push(chance: random.Random) -> dict[str, Any]:
    kinds = ("added", "modified", "removed")
    commits = [
        {"id": new_sha()}
        | {kind: [a_name(chance, FOLDERS) for _ in range(chance.randint(0, 3))] for kind in kinds}
        for _ in range(chance.randint(1, 5))
    ]
    return push(OCTO_WEB) | {"commits": commits, "forced": chance.random() < 0.1}


def test_a_thousand_random_pushes_agree_with_a_slow_reference() -> None:
    outcomes: Counter[str] = Counter()
    for seed in range(1000):
        chance = random.Random(seed)  # noqa: S311 - to be repeated
        payload, include, exclude = a_push(chance), some_patterns(chance), some_patterns(chance)
        forge = chance.choice(["github", "gitea"])
        event = normalise(forge, "push", {"content-type": "application/json"}, orjson.dumps(payload)).said
        assert isinstance(event, Event)
        model = MODEL | {
            "on": {"push": {"paths": {"include": written(include), "exclude": written(exclude)}}}
        }
        decision = decide(event, Pipeline.model_validate(model), HERE)
        files = {
            name
            for one in payload["commits"]
            for names in one.values()
            if isinstance(names, list)
            for name in names
        }
        counting = [
            name
            for name in files
            if (not include or slow_admits(include, name)) and not slow_admits(exclude, name)
        ]
        wanted = "unknown" if payload["forced"] else "run" if counting else "filtered"
        is_unknown = decision.reasons[-1].code == "paths_unknown"
        assert decision.outcome == ("run" if wanted == "unknown" else wanted), seed
        assert is_unknown == (wanted == "unknown"), seed
        outcomes[wanted] += 1
    assert min(outcomes[wanted] for wanted in ("unknown", "run", "filtered")) > 50


def test_comparing_is_bounded_for_each_event_and_owner() -> None:
    event = changed(*(f"{'a' * 80}{number}" for number in range(3000)))
    one = of(str([f"b{number}*" for number in range(100)]))
    budget = PatternBudget(10**9)
    decision: Decision = decide(event, one, HERE, budget.file_steps((1, 1)))
    assert (decision.outcome, decision.reasons[-1].code) == ("run", "paths_unknown")
    assert "more than 1,000,000 steps" in decision.reasons[-1].text
    assert decide(event, of("[c]"), HERE, budget.file_steps((1, 1))).reasons[-1].code == "paths_unknown"
    assert decide(event, of("[c]"), HERE, budget.file_steps((1, 2))).outcome == "filtered"
    assert decide(changed("c"), of("[c]"), HERE, FileSteps(0)).reasons[-1].code == "paths_unknown"


def test_a_plain_list_is_include() -> None:
    assert of("[a, b]") == of("{ include: [a, b] }")
    assert of("a") == of("[a]")


@pytest.mark.parametrize(
    ("paths", "code"),
    [
        ('["!docs/**"]', "bad_glob"),
        ('["/src/**"]', "bad_glob"),
        ('["./src"]', "bad_glob"),
        ("[docs/]", "bad_glob"),
        ('["a{b,c}"]', "bad_glob"),
        ("['a\\b']", "bad_glob"),
        ('["[a"]', "bad_glob"),
        ("[]", "empty"),
        ("{}", "empty"),
        ("", "wrong_type"),
        ("{ ignore: [a] }", "unknown_key"),
        ("{ exclude: [] }", "empty"),
    ],
)
@pytest.mark.parametrize("kind", ["push", "pull_request"])
def test_what_can_never_match_is_refused(paths: str, code: str, kind: str) -> None:
    with pytest.raises(PipelineInvalid) as refused:
        of(paths, kind=kind)
    assert [problem.code for problem in refused.value.problems] == [code]


def test_files_may_have_characters_that_refs_have_not() -> None:
    one = of('["a file~1:x^.txt", "refs/heads/x"]')
    assert decide(changed("a file~1:x^.txt"), one, HERE).outcome == "run"
    assert decide(changed("refs/heads/x"), one, HERE).outcome == "run"


def test_the_model_survives_its_storage_and_revisions_without_paths_are_readable() -> None:
    one = of("{ include: [a], exclude: [b] }")
    assert Pipeline.model_validate_json(one.model_dump_json()) == one
    stored = one.model_dump(mode="json")
    del stored["on"]["push"]["paths"]
    read = Pipeline.model_validate(stored)
    assert read.on.push is not None
    assert read.on.push.paths is None
