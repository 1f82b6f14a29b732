"""Verdicts: every end has its own word, and nothing that is missing is a success."""

import pytest

from services.executor.cluster import Observation, Phase, Pod, PodEnd
from services.executor.verdict import Claimed, Verdict, verdict
from shared.pipeline.model import Job, Step
from shared.statuses import REASONS_OF, Reason, Status

JOB = Job(name="job", steps=(Step(name="build", run="make"), Step(name="test", run="make test")), timeout_seconds=1200)
CLAIMED = Claimed(pod_uid="ours", job=JOB, run_timeout_seconds=7200, stop_reason=Reason.SUPERSEDED)
RAN = "driver 1.00\nbegin 1 1.00\nend 1 success 0 2.00\n"


def seen(*pods: Pod) -> Observation:
    return Observation(name="tp-abcdefgh-1", attempt_id=1, object_uid="o", creation_token="t", pods=pods, log_location="/x", containers=("job",))


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
        (ended(PodEnd(exit_code=0, stopped=True, termination=RAN)), Status.CANCELLED, Reason.SUPERSEDED, "request"),
        (ended(PodEnd(stopped=True)), Status.CANCELLED, Reason.SUPERSEDED, "request"),
        (ended(PodEnd(exit_code=143, time_limit="job", termination=RAN)), Status.FAILED, Reason.TIMED_OUT, "job ran longer than its limit of 20m"),
        (ended(PodEnd(exit_code=0, time_limit="run", termination=RAN)), Status.FAILED, Reason.TIMED_OUT, "run ran longer than its limit of 2h"),
        (ended(PodEnd(time_limit="run", clone_failure="too long")), Status.FAILED, Reason.TIMED_OUT, "run"),
        (ended(PodEnd(clone_failure="fatal: not found")), Status.ERROR, Reason.CLONE_FAILED, "fatal: not found"),
        (ended(PodEnd(exit_code=1, termination="")), Status.ERROR, Reason.PLATFORM, "shell could not be started"),
        (
            ended(PodEnd(exit_code=3, termination=RAN + "begin 2 2.00\nend 2 failed 3 3.00\n")),
            Status.FAILED,
            Reason.SCRIPT_FAILED,
            'step "test" ended with exit code 3',
        ),
        (ended(PodEnd(exit_code=137, termination=RAN)), Status.FAILED, Reason.SCRIPT_FAILED, "SIGKILL"),
        (ended(PodEnd(exit_code=255, termination=RAN)), Status.FAILED, Reason.SCRIPT_FAILED, "exit code 255"),
        (ended(PodEnd(exit_code=124, termination=RAN + "begin 2 2.00\nend 2 timed_out 124 3.00\n")), Status.FAILED, Reason.TIMED_OUT, '"test"'),
        (ended(PodEnd(exit_code=5, termination=RAN + "end 2 timed_out 124 3.00\n")), Status.FAILED, Reason.SCRIPT_FAILED, "exit code 5"),
    ],
)
def test_every_end_has_its_word(observation: Observation | None, outcome: Status, reason: Reason | None, words: str | None) -> None:
    reached = verdict(observation, CLAIMED)
    assert reached is not None
    assert (reached.outcome, reached.reason) == (outcome, reason)
    assert reached.reason is None or reached.reason in REASONS_OF[reached.outcome]
    assert (reached.message is None) if words is None else words in (reached.message or "")


@pytest.mark.parametrize("phase", [Phase.GATED, Phase.RELEASED])
def test_what_still_runs_has_no_verdict(phase: Phase) -> None:
    assert verdict(seen(Pod(uid="another", phase=Phase.GATED), Pod(uid="ours", phase=phase)), CLAIMED) is None


def test_a_verdict_tells_the_steps() -> None:
    reached = verdict(ended(PodEnd(exit_code=143, stopped=True, termination=RAN + "begin 2 2.00\n")), CLAIMED)
    assert isinstance(reached, Verdict)
    assert [(step.name, step.outcome, step.exit_code) for step in reached.steps] == [("build", "success", 0), ("test", "cancelled", None)]
    assert reached.exit_code == 143
