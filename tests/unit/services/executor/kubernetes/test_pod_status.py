"""Tests of pod status, from recorded pods: for each reason there is an object of a real cluster."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.executor.backend import Cause, Phase, PodEnd
from services.executor.kubernetes.objects import Container, PodSeen, Terminated
from services.executor.kubernetes.pod_startup import REGISTRY_SECONDS
from services.executor.kubernetes.pod_status import (
    OUTPUTS_SECONDS,
    SETTLING_SECONDS,
    SILENT_SECONDS,
    PodContext,
    mark_of,
    pod_of,
    recheck_seconds,
    stage,
)
from shared.statuses import Reason, WaitingFor
from tests.unit.services.executor.kubernetes.recordings import NAMES, seen

NOW = PodContext()
SETTLED = PodContext(seconds=SETTLING_SECONDS)
GONE = PodContext(gone=True)


def end_of(name: str, context: PodContext = NOW) -> PodEnd:
    pod = pod_of(seen(name), context)
    assert pod.phase is Phase.ENDED
    assert pod.end is not None
    return pod.end


def reason_of(end: PodEnd) -> Reason | None:
    return None if end.cause is None else end.cause.reason


# ---------------------------------------------------------------- ends


def with_outputs(name: str, **container: Any) -> PodSeen:
    return replace(seen(name), init=(Container("outputs", sidecar=True, **container),))


ENDED_AT = Terminated(0, "Completed", "", None, None)


@pytest.mark.parametrize(
    ("pod", "context", "phase"),
    [
        (with_outputs("script_failed"), NOW, Phase.RELEASED),
        (with_outputs("script_failed"), PodContext(seconds=OUTPUTS_SECONDS - 1), Phase.RELEASED),
        (with_outputs("script_failed"), PodContext(seconds=OUTPUTS_SECONDS), Phase.ENDED),
        (with_outputs("script_failed"), GONE, Phase.ENDED),
        (with_outputs("script_failed", terminated=ENDED_AT), NOW, Phase.ENDED),
    ],
    ids=["prints", "prints slowly", "is stuck", "is gone", "has printed"],
)
def test_rule_3_a_job_has_ended_when_its_outputs_are_printed(
    pod: PodSeen, context: PodContext, phase: Phase
) -> None:
    pod = replace(pod, phase="Running")
    ended = pod_of(pod, context)
    assert ended.phase is phase
    if ended.end is not None:
        assert (ended.end.exit_code, ended.end.outputs, ended.name) == (3, None, pod.name)
    assert "outputs" not in pod.containers


def test_rule_3_a_job_whose_outputs_are_awaited_is_checked_again() -> None:
    assert recheck_seconds(replace(with_outputs("script_failed"), phase="Running")) == OUTPUTS_SECONDS


def test_rule_3_the_container_that_prints_outputs_is_no_service() -> None:
    gone = Terminated(1, "Error", "", None, None)
    pod = replace(with_outputs("pulling", terminated=gone), job=Container("job"))
    assert pod_of(pod, NOW).obstacle is None


@pytest.mark.parametrize(
    ("name", "exit_code", "time_limit"),
    [
        ("succeeded_while_the_pod_runs", 0, None),
        ("script_failed", 3, None),
        ("step_timed_out", 124, None),
        ("job_timed_out", 124, "job"),
        ("service_and_job_ended", 0, None),
        ("oom_child_outlived", 0, None),
    ],
)
def test_a_job_that_ended_by_itself_is_believed_at_once(
    name: str, exit_code: int, time_limit: str | None
) -> None:
    end = end_of(name)
    assert (end.exit_code, end.time_limit, end.cause, end.stopped) == (exit_code, time_limit, None, False)
    assert end.started_at is not None
    assert end.finished_at is not None
    assert "driver" in end.termination


@pytest.mark.parametrize(
    ("name", "context", "reason", "words"),
    [
        ("oom_main", NOW, Reason.OOM_KILLED, "The job used more memory"),
        ("oom_child", NOW, Reason.OOM_KILLED, "The job used more memory"),
        ("oom_service", NOW, Reason.OOM_KILLED, 'The service "db" used more memory'),
        ("evicted_after_a_trap", NOW, Reason.EVICTED, "ephemeral"),
        ("evicted_and_forgotten", NOW, Reason.EVICTED, "ephemeral"),
        ("evicted_by_the_api", NOW, Reason.EVICTED, "Eviction API"),
        ("being_evicted_by_the_api", GONE, Reason.EVICTED, "Eviction API"),
        ("preempted", NOW, Reason.PREEMPTED, "preempting to accommodate a higher priority pod"),
        ("deleted_by_hand", NOW, Reason.LOST, "deleted"),
        ("being_deleted", GONE, Reason.LOST, "deleted"),
        ("running", GONE, Reason.LOST, "deleted"),
        ("forgotten", NOW, Reason.LOST, "forgot"),
        ("abandoned", NOW, Reason.IMAGE_MISSING, "not found"),
        ("no_shell", NOW, Reason.CONFIG_INVALID, "/bin/sh"),
    ],
)
def test_what_the_cluster_did_is_the_cause(
    name: str, context: PodContext, reason: Reason, words: str
) -> None:
    end = end_of(name, context)
    assert reason_of(end) is reason
    assert end.cause is not None
    assert words in end.cause.message
    assert (end.stopped, end.time_limit, end.clone_failure) == (False, None, None)


def test_a_failed_clone_says_what_git_said() -> None:
    end = end_of("clone_failed")
    assert (end.exit_code, end.cause) == (None, None)
    assert end.clone_failure is not None
    assert "fatal" in end.clone_failure


def test_a_stop_is_told_from_an_end_of_its_own() -> None:
    assert (end_of("stopped").stopped, end_of("stopped").exit_code) == (True, 143)
    by_itself = replace(seen("succeeded_while_the_pod_runs"), active_deadline_seconds=1, phase="Succeeded")
    assert pod_of(by_itself, NOW).end == end_of("succeeded_while_the_pod_runs")


def test_a_pod_past_its_own_deadline_is_over_its_jobs_limit() -> None:
    late = replace(seen("stopped"), active_deadline_seconds=4504)
    end = pod_of(late, NOW).end
    assert end is not None
    assert (end.stopped, end.time_limit) == (False, "job")


def test_a_pod_without_a_node_ends_as_it_was_asked_to() -> None:
    cause = Cause(Reason.UNSCHEDULABLE, "0/1 nodes are available")
    assert end_of("deleted_without_a_node", PodContext(abandoned=cause, gone=True)).cause == cause
    assert end_of("deleted_without_a_node", PodContext(stopped=True, gone=True)).stopped
    assert reason_of(end_of("deleted_without_a_node", GONE)) is Reason.LOST


def test_an_end_long_before_the_deletion_keeps_its_word() -> None:
    pod = seen("deleted_by_hand")
    ended = pod.job.terminated
    assert pod.deleted_at is not None
    assert ended is not None
    before = replace(ended, exit_code=0, finished_at=pod.deleted_at - timedelta(seconds=60))
    end = pod_of(replace(pod, job=replace(pod.job, terminated=before)), GONE).end
    assert end is not None
    assert (end.exit_code, end.cause) == (0, None)


# ---------------------------------------------------------------- what is not certain yet


def killed(pod: PodSeen) -> PodSeen:
    ended = Terminated(137, "Error", "", pod.job.running_since, pod.job.running_since)
    return replace(pod, job=replace(pod.job, running_since=None, terminated=ended))


@pytest.mark.parametrize("name", ["running", "being_deleted", "being_evicted_by_the_api", "stopping"])
def test_a_container_that_may_have_been_killed_waits_for_its_pods_word(name: str) -> None:
    pod = killed(seen(name))
    assert pod_of(pod, NOW).phase is Phase.RELEASED
    assert recheck_seconds(pod) == SETTLING_SECONDS
    assert pod_of(pod, SETTLED).phase is Phase.ENDED
    assert pod_of(replace(pod, phase="Failed"), NOW).phase is Phase.ENDED


def test_a_kubelet_that_says_nothing_of_a_deleted_pod_has_lost_its_node() -> None:
    pod = seen("being_deleted")
    late = pod.grace_seconds + SILENT_SECONDS
    assert pod_of(pod, PodContext(seconds=late - 1)).phase is Phase.RELEASED
    assert recheck_seconds(pod) == late
    end = pod_of(pod, PodContext(seconds=late)).end
    assert end is not None
    assert reason_of(end) is Reason.NODE_LOST


def test_a_node_that_does_not_answer_is_given_up_where_kubernetes_does_not() -> None:
    pod = seen("unreachable")
    assert stage(pod) != stage(replace(pod, unreachable=False))
    assert pod_of(pod, PodContext(seconds=69, node_lost_seconds=60)).obstacle is None
    obstacle = pod_of(pod, PodContext(seconds=70, node_lost_seconds=60)).obstacle
    assert obstacle is not None
    assert obstacle.reason is Reason.NODE_LOST
    given_up = seen("given_up_with_its_node")
    assert pod_of(given_up, NOW).phase is Phase.RELEASED
    ended = pod_of(given_up, PodContext(seconds=given_up.grace_seconds + SILENT_SECONDS))
    assert reason_of(ended.end or PodEnd()) is Reason.NODE_LOST
    assert ended.lingers
    assert not pod_of(given_up, GONE).lingers


def test_a_deletion_by_the_taint_manager_is_a_lost_node() -> None:
    pod = replace(
        seen("being_deleted"),
        disruption=("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"),
    )
    end = pod_of(pod, PodContext(seconds=pod.grace_seconds + SILENT_SECONDS)).end
    assert end is not None
    assert reason_of(end) is Reason.NODE_LOST


def test_a_driver_that_was_started_twice_ran_no_step() -> None:
    pod = seen("script_failed")
    ended = pod.job.terminated
    assert ended is not None
    again = replace(pod, job=replace(pod.job, terminated=replace(ended, exit_code=97, message="")))
    end = pod_of(again, NOW).end
    assert end is not None
    assert (end.exit_code, reason_of(end)) == (97, Reason.LOST)
    users = replace(pod, job=replace(pod.job, terminated=replace(ended, exit_code=97)))
    assert reason_of(pod_of(users, NOW).end or PodEnd()) is None  # a script's own exit code


# ---------------------------------------------------------------- before it begins


def test_a_gated_pod_is_gated() -> None:
    assert pod_of(seen("gated"), NOW).phase is Phase.GATED


def test_a_pod_that_runs_waits_for_nothing() -> None:
    pod = pod_of(seen("running"), NOW)
    assert (pod.phase, pod.waiting, pod.obstacle) == (Phase.RELEASED, None, None)
    assert pod.started_at is not None


@pytest.mark.parametrize(
    ("name", "what", "words"),
    [
        ("unschedulable", WaitingFor.NODE, "Insufficient cpu"),
        ("starting", None, "ContainerCreating"),
        ("pulling", WaitingFor.IMAGE, "The image"),
        ("image_registry", WaitingFor.IMAGE, "500"),
        ("service_not_ready", None, 'The service "db" is not ready'),
        ("stuck_volume", None, "set up on its node"),
    ],
)
def test_what_is_waited_for(name: str, what: WaitingFor | None, words: str) -> None:
    pod = pod_of(seen(name), NOW)
    assert pod.phase is Phase.RELEASED
    assert pod.waiting is not None
    assert pod.waiting.what is what
    assert words in pod.waiting.message
    assert pod.obstacle is None


def test_a_clone_keeps_its_own_time() -> None:
    assert pod_of(seen("cloning"), PodContext(seconds=10**6)).waiting is None


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        ("image_missing", Reason.IMAGE_MISSING, "not found"),
        ("image_auth", Reason.IMAGE_AUTH, "401"),
        ("image_forbidden", Reason.IMAGE_AUTH, "403"),
        ("image_back_off", Reason.IMAGE_MISSING, "Back-off"),
        ("service_ended", Reason.SERVICE_FAILED, "exit code 3"),
        ("service_never_ready", Reason.SERVICE_FAILED, "before it was ready"),
    ],
)
def test_what_will_never_begin(name: str, reason: Reason, words: str) -> None:
    pod = pod_of(seen(name), NOW)
    assert pod.phase is Phase.RELEASED
    assert pod.obstacle is not None
    assert pod.obstacle.reason is reason
    assert words in pod.obstacle.message


def test_a_registry_that_fails_is_tried_for_a_while() -> None:
    pod = seen("image_registry")
    assert recheck_seconds(pod) == REGISTRY_SECONDS
    obstacle = pod_of(pod, PodContext(seconds=REGISTRY_SECONDS)).obstacle
    assert obstacle is not None
    assert obstacle.reason is Reason.IMAGE_REGISTRY


@pytest.mark.parametrize(
    ("waiting", "reason"),
    [("ErrImageNeverPull", Reason.IMAGE_MISSING), ("InvalidImageName", Reason.CONFIG_INVALID)],
)
def test_images_that_no_registry_is_asked_for(waiting: str, reason: Reason) -> None:
    pod = seen("image_missing")
    obstacle = pod_of(replace(pod, job=replace(pod.job, waiting=waiting)), NOW).obstacle
    assert obstacle is not None
    assert obstacle.reason is reason


# ---------------------------------------------------------------- for every pod


CONTEXT = st.builds(
    PodContext,
    seconds=st.floats(0, 10_000),
    gone=st.booleans(),
    stopped=st.booleans(),
    abandoned=st.none() | st.just(Cause(Reason.UNSCHEDULABLE, "no node")),
)
MARKS = st.fixed_dictionaries(
    {
        "active_deadline_seconds": st.sampled_from([1, 4504]),
        "reason": st.sampled_from(["", "DeadlineExceeded", "Evicted", "Unheard"]),
        "ended_because": st.sampled_from(["", "image_missing: no such image", "nonsense"]),
        "phase": st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown"]),
    }
)


@given(st.sampled_from(NAMES), CONTEXT, MARKS)
def test_a_pod_that_is_gone_has_ended_and_only_an_exit_code_of_0_is_a_success(
    name: str, context: PodContext, marks: dict[str, object]
) -> None:
    pod = replace(seen(name), **marks)  # type: ignore[arg-type] # fields of PodSeen
    weighed = pod_of(pod, context)
    if context.gone:
        assert weighed.phase is Phase.ENDED
    assert (weighed.phase is Phase.ENDED) is (weighed.end is not None)
    end = weighed.end
    if (
        end is not None
        and end.exit_code == 0
        and end.cause is None
        and not end.stopped
        and end.time_limit is None
    ):
        assert pod.job.terminated is not None
        assert pod.job.terminated.exit_code == 0


@given(st.sampled_from(NAMES), st.floats(0, 10_000), st.floats(0, 10_000))
def test_an_end_is_not_taken_back_as_time_goes(name: str, earlier: float, later: float) -> None:
    first, second = sorted((earlier, later))
    before, after = (
        pod_of(seen(name), PodContext(seconds=first)),
        pod_of(seen(name), PodContext(seconds=second)),
    )
    if before.phase is Phase.ENDED:
        assert after == before


@pytest.mark.parametrize("name", NAMES)
def test_the_stage_of_a_pod_does_not_change_by_itself(name: str) -> None:
    assert stage(seen(name)) == stage(replace(seen(name), version="later"))


def test_a_mark_says_what_it_was_made_from() -> None:
    cause = Cause(Reason.IMAGE_REGISTRY, "a: b: c")
    pod = replace(seen("abandoned"), ended_because=mark_of(cause))
    assert (pod_of(pod, NOW).end or PodEnd()).cause == cause
