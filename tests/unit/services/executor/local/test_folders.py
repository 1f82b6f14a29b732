"""Tests of the processes that may serve the folder of all pods."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from services.executor.local.folders import FolderTaken, one_pid_namespace

ROOT = Path(__file__).parents[5]
SERVE = """
import sys
from pathlib import Path
from services.executor.local.folders import one_pid_namespace
with one_pid_namespace(Path(sys.argv[1])):
    print("serving", flush=True)
    sys.stdin.read()
"""


def executor(folder: Path, *prefix: str) -> subprocess.Popen[str]:
    """Start a process that serves the folder until its input ends."""
    argv = [*prefix, sys.executable, "-c", SERVE, str(folder)]
    return subprocess.Popen(
        argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def elsewhere(folder: Path) -> subprocess.Popen[str]:
    """Start such a process in its own pid namespace, as in another container."""
    if os.getuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root makes pid namespaces, with unshare (util-linux)")
    return executor(folder, "unshare", "--pid", "--fork")


def began(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "serving\n"


def said_at_its_end(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=30)[1]


def test_executors_of_one_machine_share_a_folder(tmp_path: Path) -> None:
    first = executor(tmp_path)
    began(first)
    with one_pid_namespace(tmp_path):
        second = executor(tmp_path)
        began(second)
        assert [said_at_its_end(process) for process in (first, second)] == ["", ""]


def test_an_executor_in_another_pid_namespace_is_refused_until_the_others_have_ended(tmp_path: Path) -> None:
    with one_pid_namespace(tmp_path):
        refused = elsewhere(tmp_path)
        assert (
            f"FolderTaken: an executor in another container or pid namespace serves {tmp_path}"
            in said_at_its_end(refused)
        )
    later = elsewhere(tmp_path)
    began(later)
    with pytest.raises(FolderTaken), one_pid_namespace(tmp_path):
        pass
    assert said_at_its_end(later) == ""
    with one_pid_namespace(tmp_path):
        pass


def test_a_job_can_not_open_the_lock(tmp_path: Path) -> None:
    with one_pid_namespace(tmp_path):
        assert (tmp_path / "executors.lock").stat().st_mode & 0o777 == 0o600
