"""Tests of the proof that a log in a pod's directory has ended."""

import os
from pathlib import Path

import pytest

from services.logsink.pod_directory import PodDirectory, start_time
from services.logsink.sources import End
from tests.fakes.pod_directory import FakePod


@pytest.fixture(params=[True, False], ids=["with a lock", "of an older executor"])
def fake(tmp_path: Path, request: pytest.FixtureRequest) -> FakePod:
    return FakePod(tmp_path / "pod", locks=request.param)


def known_end(fake: FakePod, container: str = "job") -> End | None:
    return PodDirectory(fake.path).known_end(container)


def test_a_pod_whose_supervisor_lives_has_not_ended(fake: FakePod) -> None:
    assert known_end(fake) is None


def test_each_container_ends_by_itself(fake: FakePod) -> None:
    fake.end("clone")
    assert known_end(fake, "clone") == End()
    assert known_end(fake, "job") is None


def test_a_pod_that_ended_ends_all(fake: FakePod) -> None:
    fake.end_all()
    assert known_end(fake, "clone") == known_end(fake, "job") == End()


def test_a_pod_that_ended_names_the_last_step_that_its_driver_noted(fake: FakePod) -> None:
    fake.end_all("\ndriver\n1 12 s0\n2 20 f1\nover")
    assert known_end(fake) == End(ended_step=2)


@pytest.mark.parametrize("status", [b"", b'{"termination": "'])
def test_a_crash_of_the_machine_that_left_half_a_status_is_an_end_without_proof(
    fake: FakePod, status: bytes
) -> None:
    fake.end("clone")
    (fake.path / "status.json").write_bytes(status)
    assert known_end(fake, "clone") == End()
    assert known_end(fake) == End("the machine crashed while the pod was there")


def test_a_supervisor_that_failed_proves_only_what_had_ended_before(fake: FakePod) -> None:
    fake.end("clone")
    fake.end_all(fault="OSError: [Errno 28] No space left on device")
    assert known_end(fake, "clone") == End()
    failed = known_end(fake)
    assert failed
    assert failed.gap == "the pod's supervisor failed before it had stored all output"


def test_a_lost_supervisor_and_a_directory_that_is_gone_prove_no_completeness(fake: FakePod) -> None:
    fake.lose_supervisor()
    lost = known_end(fake)
    fake.remove()
    gone = known_end(fake)
    assert lost
    assert gone
    assert lost.gap != gone.gap
    assert lost.gap
    assert gone.gap


def test_what_the_supervisor_said_before_it_ended_counts(fake: FakePod) -> None:
    fake.end()
    fake.lose_supervisor()
    assert known_end(fake) == End()


def test_a_pod_that_is_only_being_made_has_not_ended(tmp_path: Path) -> None:
    assert PodDirectory(tmp_path).known_end("job") is None


def test_a_crash_of_the_machine_that_left_half_an_identity_is_an_end_without_proof(fake: FakePod) -> None:
    (fake.path / "pod.json").write_bytes(b"")
    lost = known_end(fake)
    assert lost
    assert lost.gap


def test_a_supervisor_of_another_pid_namespace_lives_as_long_as_it_holds_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = FakePod(tmp_path / "pod")
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("services.logsink.pod_directory.start_time", lambda _: None)
        assert [known_end(fake) for _ in range(2)] == [None, None]
        fake.lose_supervisor()
        lost = known_end(fake)
    assert lost
    assert lost.gap == "the pod's supervisor ended before its log did"


def test_start_times_tell_processes_apart() -> None:
    assert start_time(os.getpid()) == start_time(os.getpid())
    assert start_time(os.getpid()) != start_time(1)
    assert start_time(2**30) is None
