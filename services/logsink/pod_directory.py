"""A pod of the local cluster as the log sink sees it: a directory with logs, and the evidence that a log has
ended.

Reads only. The layout is the local cluster's, whose supervisors write it. The log sink may run in another
container than the executor, where it sees none of its processes. A lock tells it whether a supervisor lives.
"""

import asyncio
import fcntl
import os
from pathlib import Path

import orjson

from services.logsink.sources import End
from services.logsink.sources.log_files import LogFiles


class PodDirectory:
    """`log/<container>.log`, `ended/<container>`, `status.json`, `pod.json`, `supervisor.lock`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._supervisor: tuple[int, int] | None = None

    def log(self, container: str) -> Path:
        return self.path / "log" / f"{container}.log"

    def files(self, container: str) -> LogFiles:
        return LogFiles(self.log(container))

    def start(self, bell: asyncio.Event) -> None:
        """All evidence is in the directory, which is watched."""

    def attempt_over(self, reason: str | None) -> None:
        """A verdict is no evidence here: the supervisor says of every container that it has ended."""

    async def close(self) -> None:
        """There is nothing to let go of."""

    @property
    def watched(self) -> tuple[Path, ...]:
        """The directories in which something happens when a log grows or ends."""
        return (self.path, self.path / "log", self.path / "ended")

    def says_ended(self, container: str) -> bool:
        """Whether the supervisor has said that this log has its last byte."""
        names = (f"ended/{container}", "status.json")
        paths = (f"{self.path}/{name}" for name in names)
        return any(map(os.path.exists, paths))

    def evidence(self, container: str) -> End | None:
        """Why nothing more will come, or None. What was written is in the file when this answers."""
        gone = self._is_gone()
        if self.says_ended(container):  # after the look at the supervisor: its last act is to say so
            return End()
        return End(gap=gone) if gone else None

    def _is_gone(self) -> str | None:
        if not self.path.is_dir():
            return "the pod's directory is gone"
        try:
            supervisor = self._identity()
        except ValueError:
            return "the machine crashed while the pod was there"
        if supervisor and not self._lives(*supervisor):
            return "the pod's supervisor ended before its log did"
        return None

    def _lives(self, pid: int, started: int) -> bool:
        """Whether the supervisor holds its lock.

        A pod of an older executor has no lock: then the supervisor has to be a process here.
        """
        try:
            descriptor = os.open(self.path / "supervisor.lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return start_time(pid) == started
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # several log sinks may hold it at once
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _identity(self) -> tuple[int, int] | None:
        """(pid, start time) of the supervisor, once it is known.

        Raises ValueError for half a file: put in place whole, it outlived a crash of the machine.
        """
        if self._supervisor is None:
            try:
                pod = orjson.loads((self.path / "pod.json").read_bytes())
                self._supervisor = (int(pod["supervisor_pid"]), int(pod["supervisor_start_time"]))
            except (FileNotFoundError, NotADirectoryError):
                return None
        return self._supervisor


def start_time(pid: int) -> int | None:
    """Field 22 of /proc/<pid>/stat; None when there is no such process, or only what its parent has not yet
    collected.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in {b"Z", b"X"} else int(fields[19])
