"""Tests of processes: they are identified by pid and start time, and ended within a bound."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from devstack import processes
from devstack.processes import Command, PidFile, Process
from devstack.settings import inherited_environment

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); "
    "time.sleep(60)"
)
WITH_CHILD = (
    "import subprocess, time; print(subprocess.Popen(['sleep', '60'], start_new_session=True).pid, "
    "flush=True); time.sleep(60)"
)


def start(directory: Path, *argv: str) -> tuple[Process, PidFile]:
    pid_file = PidFile(directory / "it.pid")
    return processes.start(
        Command(argv, directory / "it.log", inherited_environment(directory, {})), pid_file
    ), pid_file


def wait_for_line(log: Path) -> str:
    assert processes.wait_until(lambda: log.exists() and log.read_text().endswith("\n"), 10)
    return log.read_text().strip()


def test_a_started_process_is_found_again_through_its_file(tmp_path: Path) -> None:
    process, pid_file = start(tmp_path, "sleep", "60")
    assert pid_file.path.read_text() == f"{process.pid}\n"
    assert PidFile(tmp_path / "it.pid").read() == process
    assert os.getsid(process.pid) == process.pid
    processes.kill([process])
    assert pid_file.read() is None


def test_a_stranger_who_got_the_pid_is_nobody_of_ours_and_gets_no_signal(tmp_path: Path) -> None:
    process, pid_file = start(tmp_path, "sleep", "60")
    stranger = Process(process.pid, process.started_ticks - 1)
    pid_file.write(stranger)
    assert pid_file.read() is None
    assert processes.stop([stranger], grace_seconds=5) == []
    processes.kill([stranger])
    assert process.running()
    processes.kill([process])


@pytest.mark.parametrize("content", ["", "many words", "999999999\n"])
def test_a_broken_pid_file_is_nobody(tmp_path: Path, content: str) -> None:
    (tmp_path / "it.pid").write_text(content)
    assert PidFile(tmp_path / "it.pid").read() is None


def test_a_child_that_ends_while_it_is_looked_at_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, _ = start(tmp_path, "sleep", "60")
    child = processes._children[process.pid]
    check = processes._stat

    def ends_first(pid: int) -> tuple[int, int] | None:
        child.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        return check(pid)

    monkeypatch.setattr(processes, "_stat", ends_first)
    assert not process.running()
    assert child.returncode == -signal.SIGKILL


def test_stop_ends_an_obedient_process_without_killing_it(tmp_path: Path) -> None:
    process, _ = start(tmp_path, "sleep", "60")
    assert processes.stop([process], grace_seconds=5) == []
    assert not process.running()


def test_stop_kills_what_does_not_listen(tmp_path: Path) -> None:
    process, _ = start(tmp_path, sys.executable, "-c", STUBBORN)
    wait_for_line(tmp_path / "it.log")
    assert processes.stop([process], grace_seconds=0.1) == [process]
    assert not process.running()


def test_stop_reaches_a_process_that_is_paused(tmp_path: Path) -> None:
    process, _ = start(tmp_path, "sleep", "60")
    process.send(signal.SIGSTOP)
    assert processes.stop([process], grace_seconds=5) == []


def test_descendants_and_marked_processes_are_found_in_other_sessions(tmp_path: Path) -> None:
    process, _ = start(tmp_path, sys.executable, "-c", WITH_CHILD)
    child = Process.of(int(wait_for_line(tmp_path / "it.log")))
    assert child is not None
    assert processes.descendants(process) == [child]
    assert set(processes.of_stack(tmp_path)) == {process, child}
    processes.kill([process])
    assert processes.of_stack(tmp_path) == [child]
    processes.kill([child])
    assert processes.of_stack(tmp_path.parent / "elsewhere") == []


def test_what_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        start(tmp_path, str(tmp_path / "nothing"))


def test_a_zombie_does_not_run() -> None:
    child = subprocess.Popen(["true"])
    pid_ended = processes.wait_until(lambda: Process.of(child.pid) is None, 5)
    assert pid_ended
    assert child.wait() == 0


def test_waiting_has_a_bound() -> None:
    assert not processes.wait_until(lambda: False, 0.05)


def test_the_tail_of_a_log_names_the_log(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(f"line {n}\n" for n in range(100)))
    assert "line 99" in processes.tail(log)
    assert "line 10\n" not in processes.tail(log)
    assert str(log) in processes.tail(log)
    assert "no log" in processes.tail(tmp_path / "none.log")
