"""The files in the folder of a local pod, and functions that read and write them.

A pod's folder is put in place complete, by one rename(2) that fails if the name is taken, so no process sees
an incomplete pod. Every file in it that may be read while it is written is also put in place by a rename.

- `pod.json`: the pod's identity and its supervisor
- `warnings`: notes about how the job runs, one line each; missing if there are none
- `supervisor.pid`: pid and start time of the supervisor
- `supervisor.lock`: locked while the supervisor lives
- `go`: the uid of the pod that may run
- `stop`: exists if the pod has been asked to end
- `started`: exists if user code may have started
- `log/<container>.log`: the log of a container
- `ended/<container>`: exists if this log is complete before the pod has ended
- `status.json`: how the pod ended; shows that all logs have ended, and are complete if it names no fault
- `job`: the only folder that the job sees, with its own `workspace`, `home` and `state`
- `git`: settings of the clone
"""

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from services.executor.step_outputs import Collected

STAGED = ".staged-"
"""Prefix of folders that are not pods: they are being made or removed."""
MARK = "TOWPATH_POD"
"""The variable with the pod's uid in each of its processes. Orphans are found by it."""


@dataclass(frozen=True, slots=True)
class PodFiles:
    folder: Path

    @property
    def identity(self) -> Path:
        return self.folder / "pod.json"

    @property
    def warnings(self) -> Path:
        return self.folder / "warnings"

    @property
    def lock(self) -> Path:
        """The supervisor holds an flock(2) on this file.

        The kernel releases it when the supervisor ends. Processes in other pid namespaces see that.
        """
        return self.folder / "supervisor.lock"

    @property
    def go(self) -> Path:
        return self.folder / "go"

    @property
    def stop(self) -> Path:
        return self.folder / "stop"

    @property
    def started(self) -> Path:
        return self.folder / "started"

    @property
    def status(self) -> Path:
        return self.folder / "status.json"

    @property
    def job(self) -> Path:
        return self.folder / "job"

    @property
    def workspace(self) -> Path:
        return self.job / "workspace"

    @property
    def home(self) -> Path:
        return self.job / "home"

    @property
    def state(self) -> Path:
        return self.job / "state"

    @property
    def git(self) -> Path:
        return self.folder / "git"

    def log(self, container: str) -> Path:
        return self.folder / "log" / f"{container}.log"

    def ended(self, container: str) -> Path:
        return self.folder / "ended" / container


@dataclass(frozen=True, slots=True)
class Identity:
    """The content of `pod.json`."""

    uid: str
    attempt_id: int
    creation_token: str
    supervisor_pid: int
    supervisor_start_time: int


@dataclass(frozen=True, slots=True)
class CloneStatus:
    """The end of the clone. `message` is git's error message if it failed."""

    exit_code: int
    message: str
    stopped: bool
    timed_out: bool


@dataclass(frozen=True, slots=True)
class Status:
    """The content of `status.json`. Times are Unix time in seconds."""

    uid: str
    released: bool
    stopped: bool = False
    out_of_memory: bool = False
    time_limit: Literal["job", "run"] | None = None
    exit_code: int | None = None
    started_at: float | None = None
    finished_at: float | None = None
    clone: CloneStatus | None = None
    termination: str = ""
    outputs: Collected | None = None
    """None if the job has no `outputs`, or has not run."""
    fault: str | None = None


def write_whole(path: Path, text: str) -> None:
    """Put a file in place atomically. It replaces the file of another writer."""
    beside = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    beside.write_text(text, encoding="utf-8")
    beside.rename(path)


def read_identity(files: PodFiles) -> Identity | None:
    """Return the identity of the pod; None if there is no such pod."""
    values = _read_json(files.identity)
    return None if values is None else Identity(**values)


def read_status(files: PodFiles) -> Status | None:
    """Return how the pod ended; None if it has not ended, or its supervisor died before recording that."""
    values = _read_json(files.status)
    if values is None:
        return None
    clone, outputs = values["clone"], values.get("outputs")
    values["clone"] = None if clone is None else CloneStatus(**clone)
    values["outputs"] = None if outputs is None else Collected.of(outputs)
    return Status(**values)


def read_warnings(files: PodFiles) -> tuple[str, ...]:
    with contextlib.suppress(FileNotFoundError):
        return tuple(files.warnings.read_text(encoding="utf-8").splitlines())
    return ()


def read_go(files: PodFiles) -> str | None:
    """Return the uid of the pod that was released."""
    with contextlib.suppress(FileNotFoundError):
        return files.go.read_text(encoding="utf-8")
    return None


def _read_json(path: Path) -> Any:
    """Read a JSON file. None if it is missing, or incomplete after a crash of the machine."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
