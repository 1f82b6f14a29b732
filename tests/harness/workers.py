"""Parallel test processes (pytest-xdist workers): what they share, and what each has for itself.

The process that is no worker (the controller, or the only process) owns the directory of the run, in memory
where that is possible: temporary files of all workers, and the run's PostgreSQL and RabbitMQ. The first
worker that needs a server starts it there, under a file lock; the others find it running. At the end the
owner kills every process that was started for something below this directory, also what an interrupted worker
left, and deletes it. Each worker has its own slice of ports, so that no two choose the same one, and its own
user ids for jobs and clones, so that jobs of one can't signal those of another.
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
"""Of the first worker, with the clones' one above it; each further worker has the next pair below."""
LOWEST_PORT, PORTS = 20_000, 10_000
"""What the workers share: below the range that the kernel gives to outgoing connections."""
LEAST_MEMORY_BYTES = 4 << 30
_DIRECTORY = pytest.StashKey[Path]()
_INPUT = "run_directory"
SHARED = "shared"


def number() -> int:
    """Of this worker, from 0; 0 also where there are no workers."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def job_uid() -> int:
    """The user of this worker's jobs where tests run as root."""
    return JOB_UID - 2 * number()


def clone_uid() -> int:
    return job_uid() + 1


def configure(config: pytest.Config) -> None:
    """Called once at the start of each process."""
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
    """A new folder: a tmpfs for root, if half of the available memory is at least LEAST_MEMORY_BYTES; else on
    disk.

    Each test's database is some 300 files, made and deleted thousands of times: on ext4, looking for inodes
    that were not deleted a moment ago takes half of the processor's time.
    """
    directory = scratch_directory()
    size = available_memory() // 2
    if os.geteuid() == 0 and size >= LEAST_MEMORY_BYTES:
        options = f"size={size},mode=0711"
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "towpath-tests", str(directory)], check=False
        )  # not in every container
    return directory


def available_memory() -> int:
    """Bytes that processes may still take without swapping, as the kernel estimates."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def tell(config: pytest.Config, workerinput: dict[str, str]) -> None:
    """Give a new worker the directory of the run."""
    workerinput[_INPUT] = str(config.stash[_DIRECTORY])


def unconfigure(config: pytest.Config) -> None:
    """End all that was started below the run's directory, and delete it; workers leave both to the owner."""
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
    ):  # the run's own, and the disks of servers whose test was interrupted
        subprocess.run(["umount", "--lazy", str(mounted)], check=False)
    shutil.rmtree(directory, ignore_errors=True)


def mounts_below(directory: Path) -> list[Path]:
    """The innermost first."""
    points = [Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines()]
    return [point for point in reversed(points) if point.is_relative_to(directory)]


class SharedServers:
    """The pair of servers of the whole run, each started by the first who needs it."""

    def __init__(self, config: pytest.Config) -> None:
        self._directory = config.stash[_DIRECTORY] / SHARED
        self._servers: Servers | None = None

    def started(self, name: str) -> Servers:
        """With `postgres` or `rabbit` running."""
        self._directory.mkdir(mode=0o711, exist_ok=True)
        with FileLock(self._directory / f"{name}.lock"):
            self._servers = self._servers or servers_for_tests(self._directory, print)
            getattr(self._servers, name).start()
        return self._servers


@contextmanager
def private_servers() -> Iterator[Servers]:
    """Servers of this worker alone, which are not started yet, in a directory of their own; all of it is gone
    after the block.
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
