"""Tests of the offline explanation: the event, the decision, and what is known about each job."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from services.scheduler.planning import plan
from shared.events import Event
from shared.explanation import NotExplained, explain
from shared.forges import normalise
from shared.forges.guessing import event_type_of, forge_of
from shared.pipeline.errors import PipelineInvalid
from shared.pipeline.load import load
from shared.statuses import Status
from tests.harness.github import FakeRepository, pull_request, push, to_bytes
from tests.payloads import events, examples

WEB = FakeRepository("octo/web")
HEAD = "version: 1\nrepository: octo/web\non: { push: { branches: [main] }, pull_request: {} }\n"
NODE = "{ steps: [{ run: x }] }"
JOBS = {
    "a condition that is false": """
  first: { if: "event.type == 'tag'", steps: [{ run: x }] }
  second: { needs: first, steps: [{ run: x }] }
  third: { needs: second, if: "event.type == 'push'", steps: [{ run: x }] }
  last: { needs: [third], if: always(), env: { R: "${{ needs.third.result }}" }, steps: [{ run: x }] }
""",
    "a condition that is decided later": """
  first: { steps: [{ run: x }] }
  never: { if: "false", steps: [{ run: x }] }
  second: { needs: [first, never], if: failure(), steps: [{ run: x }] }
  third: { needs: [first], if: "needs.first.result == 'success'", steps: [{ run: x }] }
""",
    "a part of a matrix that is skipped": """
  first:
    matrix: { level: [quick, full] }
    if: matrix.level == 'quick'
    steps: [{ run: x }]
  second: { needs: first, steps: [{ run: x }] }
""",
    "a matrix that is skipped": """
  first:
    matrix: { level: [quick, full] }
    if: "event.branch == 'other'"
    steps: [{ run: x }]
  second: { needs: first, steps: [{ run: x }] }
  third: { needs: first, if: "!failure()", steps: [{ run: x }] }
""",
    "a value that is not valid": """
  first: { timeout: "${{ event.branch }}", steps: [{ run: x }] }
  second: { needs: first, steps: [{ run: x }] }
  third: { needs: first, if: failure(), steps: [{ run: x }] }
""",
}


def document(jobs: str) -> str:
    return f"{HEAD}jobs:{jobs}"


def jobs_of(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {job["key"]: job for job in answer["run"]["jobs"]}


@pytest.mark.parametrize("jobs", [pytest.param(text, id=name) for name, text in JOBS.items()])
def test_each_job_has_the_status_that_the_scheduler_gives_it(jobs: str) -> None:
    payload = to_bytes(push(WEB))
    said = normalise("github", "push", {}, payload).said
    assert isinstance(said, Event)
    planned = plan(load(document(jobs)), said, datetime(2026, 1, 1, tzinfo=UTC))
    found = jobs_of(explain(document(jobs), payload, "github"))
    assert list(found) == [state.key for state in planned.state.jobs]
    for state in planned.state.jobs:
        outlook, why = found[state.key]["outlook"], found[state.key]["why"]
        if state.is_over:
            expected = "skipped" if state.status is Status.SKIPPED else "error"
            assert (outlook, why) == (expected, state.message)
            assert found[state.key]["reason"] == (state.reason and state.reason.value)
        else:
            assert outlook == ("starts" if state.ready_at else "depends")


def test_a_job_that_depends_on_others_says_on_which_and_keeps_its_expressions() -> None:
    jobs = f"""
  build: {{ outputs: {{ tag: "${{{{ steps.a.outputs.tag }}}}" }}, steps: [{{ id: a, run: x }}] }}
  lint: {NODE}
  test:
    needs: [build, lint]
    image: app:${{{{ needs.build.outputs.tag }}}}
    if: needs.build.outputs.tag != ''
    env: {{ TAG: "${{{{ needs.build.outputs.tag }}}}", LEVEL: "${{{{ event.branch }}}}" }}
    steps: [{{ run: x }}]
"""
    test = jobs_of(explain(document(jobs), to_bytes(push(WEB)), "github"))["test"]
    assert test["why"] == "Its `if` is decided when these jobs have succeeded: `build`, `lint`."
    assert test["condition"] == "if: needs.build.outputs.tag != ''"
    assert test["image"] == "app:${{ needs.build.outputs.tag }}"
    assert test["expressions"]["image"] == test["image"]


def test_values_titles_and_groups_are_those_of_the_event() -> None:
    text = HEAD + (
        'concurrency: { group: "web:${{ event.ref }}", on_new: cancel_older }\nenv: { CI: "1" }\n'
        "jobs:\n  test:\n    name: Test ${{ matrix.python }}\n    image: python:${{ matrix.python }}\n"
        '    matrix: { python: ["3.10", "3.11"] }\n    env: { BRANCH: "${{ event.branch }}" }\n'
        "    if: event.branch == 'main'\n    steps: [{ run: 'make ${{ matrix.python }}' }]\n"
    )
    answer = explain(text, to_bytes(push(WEB)), "github")
    assert (answer["run"]["group"], answer["run"]["on_new"]) == ("web:refs/heads/main", "cancel_older")
    job = jobs_of(answer)["test (3.10)"]
    assert (job["title"], job["image"]) == ("Test 3.10", "python:3.10")
    assert job["env"] == {"CI": "1", "BRANCH": "main"}
    assert job["condition"] == "if: event.branch == 'main' → true because event.branch = 'main'"
    assert job["steps"][0]["run"] == "make 3.10"
    assert json.loads(json.dumps(answer)) == answer


def test_an_event_that_starts_nothing_has_its_reason_and_no_run() -> None:
    answer = explain(document(f"\n  a: {NODE}\n"), to_bytes(push(WEB, ref="refs/heads/topic")), "github")
    assert answer["run"] is None
    assert answer["decision"] == {
        "outcome": "not_matched",
        "reasons": [{"code": "branch", "text": "Branch `topic` matches none of `main`."}],
    }


def test_the_assumed_facts_are_stated() -> None:
    answer = explain(document(f"\n  a: {NODE}\n"), to_bytes(pull_request(WEB)), "github")
    assert "Its owner is a maintainer of the repository." in answer["assumed"]
    assert "The repository is registered as `octo/web`." in answer["assumed"]
    assert "The pull request was not closed after this event." in answer["assumed"]


@pytest.mark.parametrize(
    ("payload", "message", "fix"),
    [
        (b"{", "The payload is not JSON", ""),
        (b"[]", "The payload is not a JSON object.", ""),
        (b"{}", "neither surely a push nor surely a pull request", "--event-type push"),
        (b'{"ref": "refs/heads/x", "before": "", "after": ""}', "does not show which forge", "--forge gitea"),
        (to_bytes({**push(WEB), "after": "x"}), "A commit is not named by its SHA.", "--event-type"),
        (to_bytes(push(WEB, ref="refs/notes/x")), "ignored for all pipelines: Pushes to `refs/notes/x`", ""),
        (to_bytes(pull_request(WEB, action="labeled")), "pull request action `labeled` starts nothing", ""),
    ],
)
def test_a_payload_without_an_event_is_an_error_with_the_fix(payload: bytes, message: str, fix: str) -> None:
    with pytest.raises(NotExplained) as raised:
        explain(document(f"\n  a: {NODE}\n"), payload)
    assert message in str(raised.value)
    assert fix in raised.value.fix


def test_all_problems_of_the_pipeline_are_found_before_the_payload_is_read() -> None:
    with pytest.raises(PipelineInvalid) as raised:
        explain("version: 2\nrepositry: x\n", b"{")
    assert len(raised.value.problems) > 1


def test_an_event_type_that_is_given_is_not_guessed() -> None:
    with pytest.raises(NotExplained, match="can't be read as a pull_request event of gitea"):
        explain(document(f"\n  a: {NODE}\n"), to_bytes(push(WEB)), "gitea", "pull_request")


@pytest.mark.parametrize("event", events())
def test_githubs_examples_are_recognised_and_never_taken_for_another_event(event: str) -> None:
    expected = event if event in {"push", "pull_request"} else None
    for name, body in examples(event):
        assert event_type_of(body) == expected, name
        if "repository" in body:
            assert forge_of(body) in {"github", None}, name
            if expected:
                assert forge_of(body) == "github", name


@pytest.mark.parametrize(
    ("fields", "forge"),
    [
        ({"node_id": "x"}, "github"),
        ({"original_url": "", "empty": False}, "gitea"),
        ({"node_id": "x", "empty": False}, None),
        ({"id": 1, "full_name": "octo/web"}, None),
    ],
)
def test_the_forge_is_known_by_fields_that_only_one_sends(fields: dict[str, Any], forge: str | None) -> None:
    assert forge_of({"repository": fields}) == forge
