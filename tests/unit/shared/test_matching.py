"""Tests of the decision whether an event starts a pipeline, and of its explanation."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import Event, EventKind
from shared.matching import Circumstances, Decision, Outcome, decide
from shared.pipeline.load import load
from shared.pipeline.model import Pipeline

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HERE = Circumstances(("octo/web",), owner_may_use=True)
PUSH = Event(
    kind=EventKind.PUSH,
    repository="octo/web",
    trusted=True,
    ref="refs/heads/main",
    branch="main",
    sha="a" * 40,
    message="work",
    happened_at=NOON,
)
TAG = replace(PUSH, kind=EventKind.TAG, ref="refs/tags/v1", branch=None, tag="v1")
PULL_REQUEST = Event(
    kind=EventKind.PULL_REQUEST,
    repository="octo/web",
    trusted=True,
    action="opened",
    branch="topic",
    base_branch="main",
    sha="a" * 40,
    pull_request=7,
    title="Add it",
    happened_at=NOON,
)


def pipeline(on: str, repository: str = "octo/web") -> Pipeline:
    return load(
        f"version: 1\nrepository: {repository}\non: {on}\njobs: {{ a: {{ steps: [{{ run: x }}] }} }}\n"
    )


def answer(event: Event, on: str, circumstances: Circumstances = HERE) -> tuple[str, str]:
    decision = decide(event, pipeline(on), circumstances)
    return decision.outcome.value, decision.reasons[0].text


@pytest.mark.parametrize(
    ("event", "on", "outcome", "text"),
    [
        (PUSH, "{ push: {} }", "run", "The pipeline runs for every branch."),
        (TAG, "{ push: {} }", "run", "The pipeline runs for every tag."),
        (
            PUSH,
            '{ push: { branches: [main, "release/**"] } }',
            "run",
            "Branch `main` matches `main`, `release/**`.",
        ),
        (
            replace(PUSH, branch="dev"),
            '{ push: { branches: [main, "release/**"] } }',
            "not_matched",
            "Branch `dev` matches none of `main`, `release/**`.",
        ),
        (
            replace(PUSH, branch="a/b"),
            '{ push: { branches: ["*"] } }',
            "not_matched",
            "Branch `a/b` matches none of `*`.",
        ),
        (
            replace(PUSH, branch="a/b"),
            '{ push: { branches: ["**", "!a/**"] } }',
            "not_matched",
            "Branch `a/b` matches none of `**`, `!a/**`.",
        ),
        (
            PUSH,
            '{ push: { tags: ["v*"] } }',
            "not_matched",
            "The pipeline runs on pushed tags only, and `main` is a branch.",
        ),
        (
            TAG,
            "{ push: { branches: [v1] } }",
            "not_matched",
            "The pipeline runs on pushed branches only, and `v1` is a tag.",
        ),
        (TAG, '{ push: { branches: [main], tags: ["v*"] } }', "run", "Tag `v1` matches `v*`."),
        (
            replace(TAG, tag="w1"),
            '{ push: { tags: ["v*"] } }',
            "not_matched",
            "Tag `w1` matches none of `v*`.",
        ),
        (PUSH, "{ pull_request: {} }", "not_matched", "The pipeline does not run on pushes."),
        (TAG, "{ pull_request: {} }", "not_matched", "The pipeline does not run on pushes."),
        (PULL_REQUEST, "{ push: {} }", "not_matched", "The pipeline does not run on pull requests."),
        (PULL_REQUEST, "{ pull_request: {} }", "run", "The pipeline runs for every base branch."),
        (PULL_REQUEST, "{ pull_request: { branches: [main] } }", "run", "Base branch `main` matches `main`."),
        (
            replace(PULL_REQUEST, base_branch="dev"),
            "{ pull_request: { branches: [main] } }",
            "not_matched",
            "Base branch `dev` matches none of `main`.",
        ),
        (
            replace(PULL_REQUEST, action="closed"),
            "{ pull_request: {} }",
            "not_matched",
            "The pull request was `closed`; the pipeline runs for `opened`, `synchronize`, `reopened`.",
        ),
        (
            replace(PULL_REQUEST, action="closed"),
            "{ pull_request: { types: [closed] } }",
            "run",
            "The pipeline runs for every base branch.",
        ),
        (
            replace(PUSH, deleted=True, sha=None),
            "{ push: {} }",
            "skipped",
            "The push deleted branch `main`: nothing is left to build.",
        ),
        (
            replace(TAG, deleted=True, sha=None),
            "{ push: {} }",
            "skipped",
            "The push deleted tag `v1`: nothing is left to build.",
        ),
        (
            replace(PUSH, message="fix [Skip CI]"),
            "{ push: {} }",
            "skipped",
            "The message of the head commit says [skip ci].",
        ),
        (
            replace(PULL_REQUEST, title="[no ci] docs"),
            "{ pull_request: {} }",
            "skipped",
            "The title of the pull request says [no ci].",
        ),
        (replace(PUSH, title="[skip ci]"), "{ push: {} }", "run", "The pipeline runs for every branch."),
    ],
)
def test_decisions(event: Event, on: str, outcome: str, text: str) -> None:
    assert answer(event, on) == (outcome, text)


SKIP_WORDS = ["[skip ci]", "[ci skip]", "[no ci]", "[skip actions]", "[actions skip]"]


@pytest.mark.parametrize("word", SKIP_WORDS)
def test_a14_a_tag_runs_although_its_commit_says_skip(word: str) -> None:
    tag = replace(TAG, message=f"{word} release")
    assert answer(tag, "{ push: { tags: [v1] } }") == ("run", "Tag `v1` matches `v1`.")
    assert answer(tag, "{ push: {} }")[0] == "run"


@pytest.mark.parametrize("word", SKIP_WORDS)
def test_a14_every_word_that_skips_is_documented(word: str) -> None:
    text = (Path(__file__).parents[3] / "docs" / "pipeline-reference.md").read_text(encoding="utf-8")
    assert f"`{word}`" in text


@pytest.mark.parametrize("word", SKIP_WORDS)
def test_every_word_that_skips(word: str) -> None:
    assert answer(replace(PUSH, message=f"{word} typo"), "{ push: {} }")[0] == "skipped"
    assert answer(replace(PUSH, message=word[1:-1]), "{ push: {} }")[0] == "run"


@pytest.mark.parametrize(
    ("repository", "names", "outcome"),
    [
        ("octo/web", ("octo/web",), "run"),
        ("octo/web", ("Octo/Web",), "run"),
        ("octo/*", ("octo/web",), "run"),
        ("octo/w*", ("octo/site",), "not_matched"),
        ("octo/web", ("octo/site", "octo/web"), "run"),
    ],
)
def test_repositories(repository: str, names: tuple[str, ...], outcome: str) -> None:
    decision = decide(PUSH, pipeline("{ push: {} }", repository), Circumstances(names, owner_may_use=True))
    assert decision.outcome == outcome


def test_a_pipeline_whose_owner_may_not_use_the_repository() -> None:
    text = "The pipeline's owner is not a maintainer of `octo/web`."
    assert answer(PUSH, "{ push: {} }", replace(HERE, owner_may_use=False)) == ("not_allowed", text)


@pytest.mark.parametrize(
    ("action", "after_closing_seconds", "outcome"),
    [
        ("opened", -1, "superseded"),
        ("opened", 0, "superseded"),
        ("synchronize", 0, "superseded"),
        ("synchronize", 1, "run"),
        ("reopened", -1, "superseded"),
        ("reopened", 0, "run"),
        ("reopened", 1, "run"),
    ],
)
def test_what_a_closing_supersedes(action: str, after_closing_seconds: int, outcome: str) -> None:
    event = replace(PULL_REQUEST, action=action, happened_at=NOON + timedelta(seconds=after_closing_seconds))
    assert answer(event, "{ pull_request: {} }", replace(HERE, closed_at=NOON))[0] == outcome


def test_an_event_without_the_forges_time_is_not_superseded() -> None:
    assert (
        answer(
            replace(PULL_REQUEST, happened_at=None), "{ pull_request: {} }", replace(HERE, closed_at=NOON)
        )[0]
        == "run"
    )


EVENTS = st.builds(
    Event,
    kind=st.sampled_from([EventKind.PUSH, EventKind.TAG, EventKind.PULL_REQUEST, EventKind.MANUAL]),
    repository=st.just("octo/web"),
    trusted=st.booleans(),
    action=st.none() | st.sampled_from(["opened", "closed"]),
    branch=st.none() | st.text(),
    tag=st.none() | st.text(),
    base_branch=st.none() | st.text(),
    title=st.none() | st.text(),
    message=st.none() | st.text(),
    deleted=st.booleans(),
    happened_at=st.none() | st.just(NOON),
)
TRIGGERS = st.sampled_from(
    [
        "{ push: {} }",
        "{ pull_request: {} }",
        '{ push: { branches: [main], tags: ["v*"] } }',
        "{ push: { branches: [main] }, pull_request: { branches: [main] } }",
    ]
)


@given(EVENTS, TRIGGERS, st.booleans())
def test_every_event_gets_an_answer_with_a_reason_in_a_sentence(
    event: Event, on: str, owner_may_use: bool
) -> None:
    decision: Decision = decide(event, pipeline(on), Circumstances(("octo/web",), owner_may_use, NOON))
    assert decision.reasons
    assert all(why.code and why.text.endswith(".") and "\0" not in why.text for why in decision.reasons)
    if decision.outcome is Outcome.RUN:
        assert event.trusted
        assert owner_may_use
        assert not event.deleted


FORK = replace(PULL_REQUEST, trusted=False)


@pytest.mark.parametrize(
    ("forks", "circumstances", "outcome", "codes"),
    [
        (None, HERE, "run", ["matched", "fork_approval"]),
        ("approve", HERE, "run", ["matched", "fork_approval"]),
        ("run", HERE, "run", ["matched", "fork_run"]),
        ("ignore", HERE, "untrusted", ["forks_ignored"]),
        ("approve", replace(HERE, forks_can_run=False), "untrusted", ["local_cluster"]),
        ("run", replace(HERE, forks_can_run=False), "untrusted", ["local_cluster"]),
        ("ignore", replace(HERE, forks_can_run=False), "untrusted", ["forks_ignored"]),
        ("approve", replace(HERE, is_replaced=True), "superseded", ["newer_push"]),
        ("run", replace(HERE, is_replaced=True), "run", ["matched", "fork_run"]),
    ],
)
def test_forks_are_decided_as_the_pipeline_and_the_backend_say(
    forks: str | None, circumstances: Circumstances, outcome: str, codes: list[str]
) -> None:
    one = pipeline("{ pull_request: {} }" if forks is None else f"{{ pull_request: {{ forks: {forks} }} }}")
    decision = decide(FORK, one, circumstances)
    assert (decision.outcome, [reason.code for reason in decision.reasons]) == (outcome, codes)
    trusted = decide(PULL_REQUEST, one, circumstances)
    assert (trusted.outcome, [reason.code for reason in trusted.reasons]) == ("run", ["matched"])
