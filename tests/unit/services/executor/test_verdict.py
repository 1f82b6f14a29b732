"""Tests of verdicts: every end has its own reason, and missing information is never a success."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.executor.backend import Cause, Observation, Phase, Pod, PodEnd, Waiting
from services.executor.step_outputs import OutputsProblem
from services.executor.verdict import (
    Claimed,
    StartLimits,
    Verdict,
    not_started,
    over_quota,
    too_slow,
    verdict,
)
from shared.pipeline.model import Job, Step
from shared.statuses import REASONS_OF, Reason, Status, WaitingFor

JOB = Job(
    name="job",
    steps=(Step(name="build", run="make"), Step(name="test", run="make test")),
    timeout_seconds=1200,
)
CLAIMED = Claimed(pod_uid="ours", job=JOB, run_timeout_seconds=7200, stop_reason=None)
ASKED_TO_STOP = replace(CLAIMED, stop_reason=Reason.SUPERSEDED)
RAN = "\ndriver\n1 100 s0"


def seen(*pods: Pod) -> Observation:
    return Observation(
        name="tp-abcdefgh-1",
        attempt_id=1,
        object_uid="o",
        creation_token="t",
        pods=pods,
        log_location="/x",
        containers=("job",),
    )


def ended(end: PodEnd) -> Observation:
    return seen(Pod(uid="ours", phase=Phase.ENDED, end=end))


@pytest.mark.parametrize(
    ("observation", "outcome", "reason", "words"),
    [
        (None, Status.ERROR, Reason.LOST, "gone"),
        (seen(), Status.ERROR, Reason.LOST, "gone"),
        (seen(Pod(uid="another", phase=Phase.GATED)), Status.ERROR, Reason.LOST, "gone"),
        (seen(Pod(uid="ours", phase=Phase.LOST)), Status.ERROR, Reason.LOST, "supervised"),
        (ended(PodEnd()), Status.ERROR, Reason.LOST, "without having run"),
        (ended(PodEnd(fault="Traceback\nOSError: disk full")), Status.ERROR, Reason.PLATFORM, "disk full"),
        (ended(PodEnd(exit_code=0, termination=RAN)), Status.SUCCESS, None, None),
        (ended(PodEnd(exit_code=0, termination="")), Status.SUCCESS, None, None),
        (
            ended(PodEnd(exit_code=0, outputs_problem=OutputsProblem.TOO_LARGE)),
            Status.FAILED,
            Reason.SCRIPT_FAILED,
            "larger than 64 KiB",
        ),
        (
            ended(PodEnd(exit_code=0, outputs_problem=OutputsProblem.CHANGED)),
            Status.FAILED,
            Reason.SCRIPT_FAILED,
            "changed the file",
        ),
        (
            ended(PodEnd(exit_code=0, outputs_problem=OutputsProblem.LOST)),
            Status.ERROR,
            Reason.LOST,
            "outputs",
        ),
        (
            ended(PodEnd(exit_code=3, termination=RAN, outputs_problem=OutputsProblem.TOO_LARGE)),
            Status.FAILED,
            Reason.SCRIPT_FAILED,
            "exit code 3",
        ),
        (
            ended(PodEnd(exit_code=143, time_limit="job", termination=RAN)),
            Status.FAILED,
            Reason.TIMED_OUT,
            "job ran longer than its limit of 20m",
        ),
        (
            ended(PodEnd(exit_code=0, time_limit="run", termination=RAN)),
            Status.FAILED,
            Reason.TIMED_OUT,
            "run ran longer than its limit of 2h",
        ),
        (ended(PodEnd(time_limit="run", clone_failure="too long")), Status.FAILED, Reason.TIMED_OUT, "run"),
        (
            ended(PodEnd(clone_failure="fatal: not found")),
            Status.ERROR,
            Reason.CLONE_FAILED,
            "fatal: not found",
        ),
        (
            ended(PodEnd(exit_code=1, termination="")),
            Status.ERROR,
            Reason.PLATFORM,
            "shell could not be started",
        ),
        (
            ended(PodEnd(exit_code=3, termination=RAN + "\n2 200 f3")),
            Status.FAILED,
            Reason.SCRIPT_FAILED,
            'step "test" ended with exit code 3',
        ),
        (ended(PodEnd(exit_code=137, termination=RAN)), Status.FAILED, Reason.SCRIPT_FAILED, "SIGKILL"),
        (ended(PodEnd(exit_code=255, termination=RAN)), Status.FAILED, Reason.SCRIPT_FAILED, "exit code 255"),
        (
            ended(PodEnd(exit_code=124, termination=RAN + "\n2 200 t124")),
            Status.FAILED,
            Reason.TIMED_OUT,
            '"test"',
        ),
        (
            ended(PodEnd(exit_code=5, termination=RAN + "\n2 200 t124")),
            Status.FAILED,
            Reason.SCRIPT_FAILED,
            "exit code 5",
        ),
    ],
)
def test_every_end_has_its_word(
    observation: Observation | None, outcome: Status, reason: Reason | None, words: str | None
) -> None:
    reached = verdict(observation, CLAIMED)
    assert reached is not None
    assert (reached.outcome, reached.reason) == (outcome, reason)
    assert reached.reason is None or reached.reason in REASONS_OF[reached.outcome]
    assert (reached.message is None) if words is None else words in (reached.message or "")


EVICTED = Cause(Reason.EVICTED, "The node was low on resource: memory.")
OOM = Cause(Reason.OOM_KILLED, "The job used more memory than it was given.")


@pytest.mark.parametrize(
    ("observation", "claimed", "outcome", "reason", "words"),
    [
        (
            ended(PodEnd(exit_code=0, stopped=True, termination=RAN)),
            ASKED_TO_STOP,
            Status.CANCELLED,
            Reason.SUPERSEDED,
            "request",
        ),
        (ended(PodEnd(stopped=True)), ASKED_TO_STOP, Status.CANCELLED, Reason.SUPERSEDED, "request"),
        (
            ended(PodEnd(exit_code=143, stopped=True, termination=RAN)),
            CLAIMED,
            Status.FAILED,
            Reason.TIMED_OUT,
            "limit of 20m",
        ),
        (None, ASKED_TO_STOP, Status.CANCELLED, Reason.SUPERSEDED, "gone"),
        (
            ended(PodEnd(exit_code=137, cause=EVICTED)),
            CLAIMED,
            Status.ERROR,
            Reason.EVICTED,
            "low on resource",
        ),
        (
            ended(PodEnd(exit_code=137, cause=EVICTED)),
            ASKED_TO_STOP,
            Status.CANCELLED,
            Reason.SUPERSEDED,
            "request",
        ),
        (
            ended(PodEnd(exit_code=137, cause=OOM, termination=RAN)),
            CLAIMED,
            Status.FAILED,
            Reason.OOM_KILLED,
            "memory",
        ),
        (
            ended(PodEnd(exit_code=137, cause=OOM, termination=RAN)),
            ASKED_TO_STOP,
            Status.FAILED,
            Reason.OOM_KILLED,
            "memory",
        ),
        (
            ended(PodEnd(exit_code=3, termination=RAN)),
            ASKED_TO_STOP,
            Status.FAILED,
            Reason.SCRIPT_FAILED,
            "exit code 3",
        ),
    ],
)
def test_what_was_done_to_a_pod_weighs_more_than_its_exit_code(
    observation: Observation | None, claimed: Claimed, outcome: Status, reason: Reason, words: str
) -> None:
    reached = verdict(observation, claimed)
    assert reached is not None
    assert (reached.outcome, reached.reason) == (outcome, reason)
    assert words in (reached.message or "")


LIMITS = StartLimits(
    unclaimed_seconds=300,
    quota_seconds=3600,
    unscheduled_seconds=300,
    image_pull_seconds=600,
    start_seconds=120,
    grace_seconds=10,
)


@pytest.mark.parametrize(
    ("waiting", "seconds", "reason"),
    [
        (Waiting(WaitingFor.NODE, "0/3 nodes are available"), 299, None),
        (Waiting(WaitingFor.NODE, "0/3 nodes are available"), 300, Reason.UNSCHEDULABLE),
        (Waiting(WaitingFor.IMAGE, "pulling"), 599, None),
        (Waiting(WaitingFor.IMAGE, "pulling"), 600, Reason.IMAGE_REGISTRY),
        (Waiting(None, "no such volume", 120), 120, Reason.START_TIMED_OUT),
        (Waiting(None, "no such volume", 119), 9000, None),  # the rest of the time was the image pull
    ],
)
def test_each_wait_for_the_start_has_its_own_limit(
    waiting: Waiting, seconds: float, reason: Reason | None
) -> None:
    cause = too_slow(waiting, seconds, LIMITS)
    assert (cause and cause.reason) is reason
    assert cause is None or waiting.message in cause.message


def test_rule_3_a_verdict_has_the_outputs_of_the_jobs_own_steps() -> None:
    job = JOB.model_copy(update={"steps": (Step(id="a", run=":"),)})
    end = PodEnd(exit_code=0, outputs={"a": {"x": "1"}, "another": {"x": "2"}})
    reached = verdict(ended(end), replace(CLAIMED, job=job))
    assert reached is not None
    assert reached.outputs == {"a": {"x": "1"}}


def test_rule_8_a_pod_of_a_job_with_its_own_time_after_a_stop_may_run_longer() -> None:
    job = CLAIMED.job.model_copy(update={"stop_grace_seconds": 300})
    assert LIMITS.pod_seconds(job) - LIMITS.pod_seconds(CLAIMED.job) == 4 * (300 - 10)


def test_a_job_without_a_start_says_what_it_waited_for() -> None:
    assert (
        over_quota(3600, "exceeded quota: pods").message
        == "There was no room for the job within 1h: exceeded quota: pods"
    )
    assert not_started(300).reason is Reason.START_TIMED_OUT


@given(termination=st.text(alphabet="\n 012stfxcdriver", max_size=60), exit_code=st.integers(0, 255))
def test_x13_only_the_exit_code_makes_a_success_not_what_a_job_says_of_its_steps(
    termination: str, exit_code: int
) -> None:
    reached = verdict(ended(PodEnd(exit_code=exit_code, termination=termination)), CLAIMED)
    assert reached is not None
    assert (reached.outcome is Status.SUCCESS) == (exit_code == 0)


@pytest.mark.parametrize("phase", [Phase.GATED, Phase.RELEASED])
def test_what_still_runs_has_no_verdict(phase: Phase) -> None:
    assert verdict(seen(Pod(uid="another", phase=Phase.GATED), Pod(uid="ours", phase=phase)), CLAIMED) is None


def test_a_verdict_tells_the_steps() -> None:
    reached = verdict(ended(PodEnd(exit_code=143, stopped=True, termination=RAN + "\n2 ")), ASKED_TO_STOP)
    assert isinstance(reached, Verdict)
    assert [(step.name, step.outcome, step.exit_code) for step in reached.steps] == [
        ("build", "success", 0),
        ("test", "cancelled", None),
    ]
    assert reached.exit_code == 143
