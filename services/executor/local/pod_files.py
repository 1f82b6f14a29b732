"""The folder of a pod: its files' names, who writes each, and how they are read.

A pod is put in place complete, by one rename(2) that fails where the name is taken: nobody ever sees half of
one. Every file in it that is read while it may be written is put in place by a rename as well.

`pod.json` who it is and who supervises it · `warnings` what to know about how its job runs, a line each, if
anything · `supervisor.pid` · `supervisor.lock` locked while that lives · `go` the uid that may run · `stop`
its end was asked for · `started` user code may have begun · `log/<container>.log` · `ended/<container>` no
byte of that log follows · `status.json` how all of it ended · `job` the only folder that the job sees, with
`workspace`, `home` and `state`, its own · `git` settings of the clone
"""

import contextlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

STAGED = ".staged-"
"""Folders with this prefix are no pods: being made, or being removed."""
MARK = "TOWPATH_POD"
"""The variable that holds a pod's uid in each of its processes, by which orphans are found."""


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
    """`pod.json`."""

    uid: str
    attempt_id: int
    creation_token: str
    supervisor_pid: int
    supervisor_start_time: int


@dataclass(frozen=True, slots=True)
class CloneStatus:
    """`message` is git's complaint when it failed."""

    exit_code: int
    message: str
    stopped: bool
    timed_out: bool


@dataclass(frozen=True, slots=True)
class Status:
    """`status.json`. Instants are Unix time in seconds."""

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
    fault: str | None = None


def write_whole(path: Path, text: str) -> None:
    """Put a file in place at once; another writer's is replaced by ours."""
    beside = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    beside.write_text(text, encoding="utf-8")
    beside.rename(path)


def read_identity(files: PodFiles) -> Identity | None:
    """None: there is no such pod."""
    values = _read_json(files.identity)
    return None if values is None else Identity(**values)


def read_status(files: PodFiles) -> Status | None:
    """None: it has not ended, or nobody is left to say so."""
    values = _read_json(files.status)
    if values is None:
        return None
    clone = values["clone"]
    return Status(**{**values, "clone": None if clone is None else CloneStatus(**clone)})


def read_warnings(files: PodFiles) -> tuple[str, ...]:
    with contextlib.suppress(FileNotFoundError):
        return tuple(files.warnings.read_text(encoding="utf-8").splitlines())
    return ()


def read_go(files: PodFiles) -> str | None:
    """The uid that was released."""
    with contextlib.suppress(FileNotFoundError):
        return files.go.read_text(encoding="utf-8")
    return None


def _read_json(path: Path) -> Any:
    """None also for what a crash of the machine left half: nobody vouches for it."""
    try:
        return json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
