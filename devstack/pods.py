"""The end of the local cluster's jobs: they outlive the executor on purpose, so stopping a stack has to stop
them as well.

Invariant: no job gets a verdict by being ended here. Its supervisor is held while its processes are killed,
so that the next executor finds the job lost, which is true, and not failed or cancelled.
"""

import contextlib
import signal
from pathlib import Path

from devstack import processes
from devstack.errors import DevstackError
from devstack.processes import Process

KILL_SECONDS = 20
"""Killed processes go within milliseconds; one that forks all the time takes several rounds."""


def end_pods(pods: Path) -> int:
    """Kill every job with its supervisor; how many there were.

    The executor must be down, or it would start others.
    """
    supervisors = [process for process in map(_supervisor, pods.glob("*/supervisor.pid")) if process]
    for supervisor in supervisors:
        supervisor.send(signal.SIGSTOP)
    if not processes.wait_until(lambda: not _kill_below(supervisors), KILL_SECONDS):
        raise DevstackError(f"jobs below {pods} do not end")
    processes.kill(supervisors)
    return len(supervisors)


def _kill_below(supervisors: list[Process]) -> bool:
    """One round; whether there was anything.

    Orphans come to the supervisor, which is their subreaper, so none escapes the next round.
    """
    below = [process for supervisor in supervisors for process in processes.descendants(supervisor)]
    for process in below:
        process.send(signal.SIGKILL)
    return bool(below)


def _supervisor(path: Path) -> Process | None:
    """The file's text is `<pid> <start time>`; None where that process is gone."""
    with contextlib.suppress(OSError, ValueError):
        pid, started_ticks = path.read_text().split()
        process = Process(int(pid), int(started_ticks))
        return process if process.running() else None
    return None
