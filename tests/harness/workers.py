"""Parallel test processes (pytest-xdist workers): what they share, and what each one has for itself.

The owner of the run is the xdist controller, or the only process. It creates the directory of the run, in
memory if possible: temporary files of all workers, and the run's PostgreSQL and RabbitMQ.

1. The first worker that needs a server starts it there, under a file lock. The others find it running.
2. At the end the owner kills every process that was started for this directory, also those of an interrupted
   worker, and deletes the directory.

Each worker has its own range of ports, so that no two choose the same port. Each has its own user ids for
jobs and clones, so that jobs of one worker can't send signals to those of another.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from filelock import FileLock

from devstack import processes
from devstack.places import scratch_directory
from devstack.pods import end_pods
from devstack.servers import Servers
from tests.harness.servers import discard, servers_for_tests

JOB_UID = 65530
"""User id for jobs of the first worker; clones use the next higher id.

Each further worker uses the pair below.
"""
LOWEST_PORT, PORTS = 20_000, 10_000
"""First port and number of ports of all workers, below the kernel's range for outgoing connections."""
LEAST_MEMORY_BYTES = 4 << 30
_DIRECTORY = pytest.StashKey[Path]()
_INPUT = "run_directory"
SHARED = "shared"


def number() -> int:
    """Return the number of this worker, from 0. Without workers it is 0."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def job_uid() -> int:
    """Return the user id of this worker's jobs, for tests that run as root."""
    return JOB_UID - 2 * number()


def clone_uid() -> int:
    return job_uid() + 1


def configure(config: pytest.Config) -> None:
    """Give this process its folder, ports and user ids. Called once at the start of each process."""
    given: dict[str, str] = getattr(config, "workerinput", {})
    config.stash[_DIRECTORY] = directory = Path(given[_INPUT]) if given else run_directory()
    own = directory / f"worker-{number()}"
    own.mkdir(mode=0o711, exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(own)
    share = PORTS // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    lowest = LOWEST_PORT + number() * share
    os.environ["TOWPATH_PORT_RANGE"] = f"{lowest}-{lowest + share - 1}"
    os.environ["TOWPATH_LOCAL_JOB_UID"] = str(job_uid())
    os.environ["TOWPATH_LOCAL_CLONE_UID"] = str(clone_uid())


def run_directory() -> Path:
    """Create a folder on a tmpfs, or on disk.

    It is on a tmpfs if this process is root and half of the available memory is at least LEAST_MEMORY_BYTES.
    The database of each test has some 300 files, which are created and deleted thousands of times. On ext4
    the search for inodes that were not deleted a moment ago takes half of the processor's time.
    """
    directory = scratch_directory()
    size = available_memory() // 2
    if os.geteuid() == 0 and size >= LEAST_MEMORY_BYTES:
        options = f"size={size},mode=0711"
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "towpath-tests", str(directory)], check=False
        )  # fails in some containers
    return directory


def available_memory() -> int:
    """Return the bytes that processes may still use without swapping, as the kernel estimates."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def tell(config: pytest.Config, workerinput: dict[str, str]) -> None:
    """Give a new worker the directory of the run."""
    workerinput[_INPUT] = str(config.stash[_DIRECTORY])


def unconfigure(config: pytest.Config) -> None:
    """End all processes below the run's directory and delete it. Workers leave both to the owner."""
    if hasattr(config, "workerinput") or _DIRECTORY not in config.stash:
        return
    directory = config.stash[_DIRECTORY]
    if (directory / SHARED).exists():
        discard(servers_for_tests(directory / SHARED, print))
    processes.kill(processes.of_stack(directory))
    for pods in {path.parents[1] for path in directory.rglob("supervisor.pid")}:  # supervisors carry no mark
        end_pods(pods)
    for mounted in mounts_below(
        directory
    ):  # tmpfs of the run, and disks of servers whose test was interrupted
        subprocess.run(["umount", "--lazy", str(mounted)], check=False)
    shutil.rmtree(directory, ignore_errors=True)


def mounts_below(directory: Path) -> list[Path]:
    """Return the mount points below the directory, the innermost first."""
    points = [Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines()]
    return [point for point in reversed(points) if point.is_relative_to(directory)]


class SharedServers:
    """The two servers of the whole run. The first caller that needs one starts it."""

    def __init__(self, config: pytest.Config) -> None:
        self._directory = config.stash[_DIRECTORY] / SHARED
        self._servers: Servers | None = None

    def started(self, name: str) -> Servers:
        """Return the servers with `postgres` or `rabbit` running."""
        self._directory.mkdir(mode=0o711, exist_ok=True)
        with FileLock(self._directory / f"{name}.lock"):
            self._servers = self._servers or servers_for_tests(self._directory, print)
            getattr(self._servers, name).start()
        return self._servers


@contextmanager
def private_servers() -> Iterator[Servers]:
    """Yield servers for this worker alone, in their own directory. They are not started yet.

    Everything is deleted after the block.
    """
    directory = scratch_directory()
    try:
        ours = servers_for_tests(directory, print)
        try:
            yield ours
        finally:
            discard(ours)
            processes.kill(processes.of_stack(directory))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
