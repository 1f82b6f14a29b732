"""Tests that the local cluster's jobs end together with every process that they started."""

import sys
from pathlib import Path

from devstack import processes
from devstack.pods import end_pods
from devstack.processes import Command, PidFile, Process
from devstack.settings import inherited_environment

SUPERVISOR = """
import ctypes, os, subprocess, sys, time
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
subprocess.Popen(["sh", "-c", "setsid sleep 60 & sleep 60"])
children = lambda: open(f"/proc/self/task/{os.getpid()}/children").read().split()
print("started", flush=True)
while children():
    time.sleep(0.01)
open("verdict", "w").close()
time.sleep(60)
"""


def supervised_pod(pods: Path, name: str) -> Process:
    folder = pods / name
    folder.mkdir(parents=True)
    log = folder / "log"
    command = Command([sys.executable, "-c", SUPERVISOR], log, inherited_environment(pods, {}), folder)
    process = processes.start(command, PidFile(folder / "it.pid"))
    assert processes.wait_until(lambda: len(processes.descendants(process)) >= 3, 10)
    (folder / "supervisor.pid").write_text(f"{process.pid} {process.started_ticks}")
    return process


def test_jobs_end_with_all_they_started_and_without_a_verdict(tmp_path: Path) -> None:
    pods = tmp_path / "pods"
    everything = []
    for name in ("tp-one", "tp-two"):
        supervisor = supervised_pod(pods, name)
        everything += [supervisor, *processes.descendants(supervisor)]
    assert end_pods(pods) == 2
    assert [process for process in everything if process.running()] == []
    assert processes.of_stack(pods) == []
    assert not list(pods.glob("*/verdict"))


def test_pods_that_are_over_and_files_that_say_nothing_are_passed_over(tmp_path: Path) -> None:
    for name, text in (("tp-gone", "999999999 1"), ("tp-empty", ""), ("tp-stranger", f"{sys.maxsize} x")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "supervisor.pid").write_text(text)
    (tmp_path / "tp-starting").mkdir()
    assert end_pods(tmp_path) == 0
    assert end_pods(tmp_path / "none") == 0
