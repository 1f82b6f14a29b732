"""Pod of the local cluster: a directory with logs, and with the files that show when a log has ended.

This module only reads. The supervisors of the local cluster write the directory. The log sink may run in
another container than the executor, where it sees none of its processes, so a lock shows whether a supervisor
is alive.
"""

import asyncio
import fcntl
import os
from pathlib import Path
from typing import Any

import orjson

from services.logsink.sources import End
from services.logsink.sources.log_files import LogFiles
from shared import step_markers

_CRASHED = "the machine crashed while the pod was there"


class PodDirectory:
    """The files of a local pod that concern its logs.

    They are `log/<container>.log`, `ended/<container>`, `status.json`, `pod.json` and `supervisor.lock`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._supervisor: tuple[int, int] | None = None

    def log(self, container: str) -> Path:
        return self.path / "log" / f"{container}.log"

    def files(self, container: str) -> LogFiles:
        return LogFiles(self.log(container))

    def start(self, changed: asyncio.Event) -> None:
        """Does nothing: all signs of an end are in the directory, which is watched."""

    def attempt_over(self, reason: str | None) -> None:
        """Does nothing: the supervisor records the end of every container."""

    async def close(self) -> None:
        """Does nothing: there is nothing to release."""

    @property
    def watched(self) -> tuple[Path, ...]:
        """Returns the directories that change when a log grows or ends."""
        return (self.path, self.path / "log", self.path / "ended")

    def says_ended(self, container: str) -> bool:
        """Returns True if the supervisor has recorded that this log is complete."""
        names = (f"ended/{container}", "status.json")
        paths = (f"{self.path}/{name}" for name in names)
        return any(map(os.path.exists, paths))

    def known_end(self, container: str) -> End | None:
        """Returns the end of the log, or None if more may be written.

        All lines that were written are in the file when this returns.
        """
        gone = self._is_gone()
        if self.says_ended(container):  # after the check of the supervisor, which records this last
            return self._recorded_end(container)
        return End(gap=gone) if gone else None

    def _recorded_end(self, container: str) -> End:
        """Returns the end that the supervisor has recorded."""
        gap = None
        status: dict[str, Any] = {}
        try:
            status = orjson.loads((self.path / "status.json").read_bytes())
        except FileNotFoundError:
            return End()
        except ValueError:
            gap = _CRASHED
        if status.get("fault"):
            gap = "the pod's supervisor failed before it had stored all output"
        if gap and not (self.path / "ended" / container).exists():
            return End(gap)
        return End(ended_step=step_markers.last_ended(status.get("termination") or ""))

    def _is_gone(self) -> str | None:
        if not self.path.is_dir():
            return "the pod's directory is gone"
        try:
            supervisor = self._identity()
        except ValueError:
            return _CRASHED
        if supervisor and not self._lives(*supervisor):
            return "the pod's supervisor ended before its log did"
        return None

    def _lives(self, pid: int, started: int) -> bool:
        """Returns True if the supervisor holds its lock.

        A pod of an older executor has no lock file. Its supervisor must be a process of this machine.
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
        """Returns (pid, start time) of the supervisor, once it is known.

        Raises ValueError if the file is incomplete. It was put in place complete, so the machine has crashed
        since.
        """
        if self._supervisor is None:
            try:
                pod = orjson.loads((self.path / "pod.json").read_bytes())
                self._supervisor = (int(pod["supervisor_pid"]), int(pod["supervisor_start_time"]))
            except (FileNotFoundError, NotADirectoryError):
                return None
        return self._supervisor


def start_time(pid: int) -> int | None:
    """Returns field 22 of /proc/<pid>/stat, or None if there is no such process or it is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(b")") + 2 :].split()
    return None if fields[0] in {b"Z", b"X"} else int(fields[19])
