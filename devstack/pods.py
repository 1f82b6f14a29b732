"""Ends the jobs of the local cluster when a stack is stopped. They outlive the executor by design.

Ending a job here does not give it a verdict. Its supervisor is suspended while its processes are killed, so
the next executor finds the job lost, and not failed or cancelled.
"""

import contextlib
import signal
from pathlib import Path

from devstack import processes
from devstack.errors import DevstackError
from devstack.processes import Process

KILL_SECONDS = 20
"""Killed processes end within milliseconds. A process that forks continuously takes several rounds."""


def end_pods(pods: Path) -> int:
    """Kill every job with its supervisor, and return the number of jobs.

    The executor must be down, or it would start more jobs.
    """
    supervisors = [process for process in map(_supervisor, pods.glob("*/supervisor.pid")) if process]
    for supervisor in supervisors:
        supervisor.send(signal.SIGSTOP)
    if not processes.wait_until(lambda: not _kill_below(supervisors), KILL_SECONDS):
        raise DevstackError(f"jobs below {pods} do not end")
    processes.kill(supervisors)
    return len(supervisors)


def _kill_below(supervisors: list[Process]) -> bool:
    """Kill the descendants of the supervisors once, and return True if there were any.

    A supervisor is the subreaper of its orphans, so the next round finds all of them.
    """
    below = [process for supervisor in supervisors for process in processes.descendants(supervisor)]
    for process in below:
        process.send(signal.SIGKILL)
    return bool(below)


def _supervisor(path: Path) -> Process | None:
    """Return the process in a file with `<pid> <start time>`, or None if it has ended."""
    with contextlib.suppress(OSError, ValueError):
        pid, started_ticks = path.read_text().split()
        process = Process(int(pid), int(started_ticks))
        return process if process.running() else None
    return None
