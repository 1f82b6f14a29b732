"""Mounts that come and go on the machine, such as those of containers, do not break a job's sandbox."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.executor.local.processes import settle_mounts


@pytest.fixture(
    params=["/run/towpath-test-mounts", "kubelet/pods/1/volumes/kubernetes.io~secret/driver"],
    ids=["below run", "a pod's volume"],
)
def mounted(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Mount a file system where container runtimes mount theirs, and unmount it after the test."""
    folder = tmp_path / request.param
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "none", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        folder.rmdir()
        pytest.skip(f"only who may mount can try this: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
    folder.rmdir()


def points_seen_after_settling(needed: list[str]) -> set[str]:
    """Return the mount points that are left after `settle_mounts`.

    It runs in a child process, because it changes the mounts of its process permanently.
    """
    readable, writable = os.pipe()
    child = os.fork()
    if child == 0:
        settle_mounts(needed)
        os.write(writable, Path("/proc/self/mountinfo").read_bytes())
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as said:
        text = said.read().decode()
    os.waitpid(child, 0)
    return {line.split(" ")[4] for line in text.splitlines()}


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("mount") is None, reason="only root can do this")
def test_a_job_sees_no_mount_of_a_container_runtime_but_those_it_needs(mounted: Path) -> None:
    assert str(mounted) not in points_seen_after_settling([])
    assert str(mounted) in points_seen_after_settling([f"{mounted}/work"])
    assert os.path.ismount(mounted)  # it still exists for all other processes


SHARED_MOUNTS = """
import os, subprocess, sys
from pathlib import Path
from services.executor.local.network import NetworkUnusable, make_network

folder = Path(sys.argv[1])
for command in (["mount", "-t", "tmpfs", "outer", folder], ["mount", "--make-shared", folder]):
    subprocess.run(command, check=True)
(folder / "inner").mkdir()
subprocess.run(["mount", "-t", "tmpfs", "inner", folder / "inner"], check=True)
try:
    make_network("slirp4netns")
except NetworkUnusable as error:
    sys.exit(f"no network: {error}")
print(os.path.ismount(folder / "inner"))
"""


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("unshare") is None, reason="only root can do this")
def test_x12_the_network_of_jobs_takes_no_mount_from_the_machine(tmp_path: Path) -> None:
    """The script runs in a mount namespace of its own, so that a failure removes no mount of the machine."""
    command = [
        "unshare",
        "--mount",
        "--propagation",
        "private",
        sys.executable,
        "-c",
        SHARED_MOUNTS,
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if "no network: " in done.stderr:
        pytest.skip(done.stderr)
    assert (done.stdout, done.stderr) == ("True\n", "")
