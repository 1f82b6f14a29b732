"""Tests of planning: from the rows of an attempt to its order."""

from dataclasses import replace
from typing import Any

import pytest

from services.executor.backend import AttemptSpec
from services.executor.planning import Candidate, plan
from services.executor.verdict import Verdict
from shared.crypto import DecryptionFailed
from shared.events import Event, EventKind, Execution
from shared.pipeline.model import Checkout, Job, Step
from shared.statuses import Reason

SHA, MERGE = "a" * 40, "b" * 40
PUSH = Event(
    kind=EventKind.PUSH, repository="octo/web", trusted=True, ref="refs/heads/main", branch="main", sha=SHA
)
CANDIDATE = Candidate(
    attempt_id=7,
    creation_token="token",
    claimed_by=None,
    execution=Execution(run_id=1, run_number=3, pipeline="ci", job="test", attempt=1),
    job_id=5,
    job=Job(
        name="test",
        steps=(Step(run=":"),),
        env={"A": "b", "CI": "mine"},
        checkout=Checkout(depth=3, tags=True),
    ),
    event=PUSH,
    repository_id=9,
    clone_url="https://forge.example/octo/web.git",
    clone_token=None,
    run_timeout_seconds=600,
    run_seconds_left=500,
)


def planned(**changes: Any) -> AttemptSpec:
    answer = plan(
        replace(CANDIDATE, **changes),
        "abcdefgh",
        lambda sealed, repository: f"{sealed.decode()} of {repository}",
    )
    assert isinstance(answer, AttemptSpec)
    return answer


def test_a_push_is_cloned_at_its_commit_from_the_registered_url() -> None:
    clone = planned(clone_token=b"sealed").clone
    assert clone is not None
    assert (clone.url, clone.sha, clone.ref) == (CANDIDATE.clone_url, SHA, "refs/heads/main")
    assert clone.merge_sha is None
    assert (clone.depth, clone.tags) == (3, True)
    assert clone.token == "sealed of 9"


def test_a_pull_request_is_cloned_with_its_merge_and_its_own_ref() -> None:
    event = replace(PUSH, kind=EventKind.PULL_REQUEST, pull_request=12, merge_sha=MERGE, ref=None)
    clone = planned(event=event).clone
    assert clone is not None
    assert (clone.ref, clone.merge_sha) == ("refs/pull/12/head", MERGE)


def test_a_checkout_with_a_path_is_cloned_into_that_folder() -> None:
    job = CANDIDATE.job.model_copy(update={"checkout": Checkout(path="web/app")})
    clone = planned(job=job).clone
    assert clone is not None
    assert clone.folder == "web/app"


@pytest.mark.parametrize("trusted", [True, False])
def test_submodules_share_the_token_only_in_trusted_runs(trusted: bool) -> None:
    job = CANDIDATE.job.model_copy(update={"checkout": Checkout(submodules="recursive")})
    clone = planned(job=job, event=replace(CANDIDATE.event, trusted=trusted)).clone
    assert clone is not None
    assert (clone.submodules, clone.shares_token) == ("recursive", trusted)


def test_a_job_without_checkout_clones_nothing_and_opens_no_token() -> None:
    assert (
        planned(job=CANDIDATE.job.model_copy(update={"checkout": None}), clone_token=b"sealed").clone is None
    )


def test_the_jobs_variables_lie_over_the_events() -> None:
    environment = planned().environment
    assert (
        environment["A"],
        environment["CI"],
        environment["TOWPATH_SHA"],
        environment["TOWPATH_RUN_NUMBER"],
    ) == ("b", "mine", SHA, "3")


def test_secrets_are_not_shown() -> None:
    shown = repr(planned(clone_token=b"sealed"))
    assert "sealed of 9" not in shown
    assert "token" not in shown.replace("token=", "")


def refuse(sealed: bytes, repository_id: int) -> str:
    raise DecryptionFailed("no such key")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"run_seconds_left": -1.0}, Reason.TIMED_OUT),
        ({"event": replace(PUSH, sha=None)}, Reason.CONFIG_INVALID),
        ({"clone_token": b"sealed"}, Reason.PLATFORM),
    ],
)
def test_what_can_not_begin_has_its_verdict_at_once(changes: dict[str, Any], reason: Reason) -> None:
    answer = plan(replace(CANDIDATE, **changes), "abcdefgh", refuse)
    assert isinstance(answer, Verdict)
    assert answer.reason is reason


def test_scripts_get_the_run_and_the_job_and_the_values_of_templates_are_not_read_again() -> None:
    job = CANDIDATE.job.model_copy(
        update={
            "key": "test (${{ x }})",
            "templates": {
                "steps.0.run": "echo ${{ run.number }} ${{ job.attempt }} '${{ job.key }}'",
                "steps.0.env.run": "${{ steps.a.outputs.b }}",
            },
        }
    )
    made = planned(job=job).job
    assert made.steps[0].run == "echo 3 1 'test (${{ x }})'"
    assert made.templates == {"steps.0.env.run": "${{ steps.a.outputs.b }}"}
