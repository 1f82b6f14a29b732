"""The supervisor of one local pod: a process that outlives its executor.

It keeps the gate and the time limits, runs the containers, and records how they ended. It runs nothing until
the file `go` holds its uid. It runs user code at most once: it first creates the file `started`, and if that
file exists already it exits with code 97.
"""

import contextlib
import json
import os
import resource
import stat
import time
import traceback
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from services.executor.local.clone import clone
from services.executor.local.container import Limits, run_container
from services.executor.local.cri_log import CriLog
from services.executor.local.network import Network
from services.executor.local.order import Order
from services.executor.local.pod_files import MARK, CloneStatus, PodFiles, Status, read_go, write_whole
from services.executor.local.processes import (
    MEMORY,
    SYSTEM_PATH,
    Command,
    become_likely_victim,
    become_subreaper,
    settle_mounts,
)
from services.executor.local.signal_pipe import SignalPipe
from services.executor.step_outputs import FILE, collect
from services.executor.trees import give_away

ALREADY_STARTED_CODE = 97
_TERMINATION_BYTES = 64 * 1024


def supervise(order: Order, in_place: int, network: Network | None) -> int:
    """Run the whole life of a pod, and return the exit code of its supervisor.

    `in_place` provides a byte when the pod's folder is in place, or end of file if it will not be.
    User code runs in `network`, or in the machine's network if that is None.
    """
    os.setsid()
    become_subreaper()
    become_likely_victim()
    signal_pipe = SignalPipe()
    if not os.read(in_place, 1):
        return 1
    os.close(in_place)
    # Nobody reads stderr when the executor is gone, and the executor's log should not be kept open.
    os.dup2(0, 2)
    return _live(order, PodFiles(Path(order.pods) / order.name), signal_pipe, network)


def _live(order: Order, files: PodFiles, signal_pipe: SignalPipe, network: Network | None) -> int:
    end = _wait_at_the_gate(order, files, signal_pipe)
    if end != "go":
        _end(files, Status(order.uid, released=False, stopped=end == "stop", finished_at=time.time()))
        return 0
    try:
        files.started.touch(exist_ok=False)
    except FileExistsError:
        return ALREADY_STARTED_CODE
    if order.processes is not None:
        resource.setrlimit(resource.RLIMIT_NPROC, (order.processes, order.processes))
    if order.runner.prefix:
        settle_mounts((order.pods, *order.runner.prefix))
    try:
        status = _Pod(order, files, signal_pipe, network).run()
    except Exception:  # noqa: BLE001 - the process' last handler: every pod gets an end
        status = Status(
            order.uid, released=True, fault=traceback.format_exc(limit=-3), finished_at=time.time()
        )
    _end(files, status)
    return 0


def _wait_at_the_gate(
    order: Order, files: PodFiles, signal_pipe: SignalPipe
) -> Literal["go", "stop", "ungated"]:
    closes_at = time.monotonic() + order.gate_seconds
    while True:
        if files.stop.exists():
            return "stop"
        if read_go(files) == order.uid:
            return "go"
        if time.monotonic() >= closes_at:
            return "ungated"
        # The files are checked once more after this wait: the writer of `go` may have died before its signal.
        signal_pipe.wait(closes_at - time.monotonic())


def _end(files: PodFiles, status: Status) -> None:
    """Record the end of the pod. This also shows that all of its logs have ended."""
    write_whole(files.status, json.dumps(asdict(status)))


@dataclass(frozen=True, slots=True)
class _Pod:
    """A released pod."""

    order: Order
    files: PodFiles
    signal_pipe: SignalPipe
    network: Network | None

    def run(self) -> Status:
        run_ends_at = time.monotonic() + self.order.run_seconds
        limits = Limits(run_ends_at, self.order.grace_seconds, self.files.stop.exists)
        status = Status(self.order.uid, released=True)
        if self.order.clone is not None:
            cloned = self._clone(limits)
            status = replace(status, clone=cloned)
            if cloned.exit_code != 0 or cloned.stopped:
                over = cloned.timed_out and time.monotonic() >= run_ends_at
                return replace(
                    status,
                    stopped=cloned.stopped,
                    time_limit="run" if over else None,
                    finished_at=time.time(),
                )
        if limits.stop_requested():  # its signal may have arrived together with the end of the clone
            return replace(status, stopped=True, finished_at=time.time())
        return self._job(status, limits)

    def _clone(self, limits: Limits) -> CloneStatus:
        clone_order = self.order.clone
        assert clone_order is not None  # noqa: S101 - asked by the caller
        cloned = clone(clone_order, self.files, self.order.uid, limits, self.signal_pipe)
        if self.order.runner.owner is not None:
            give_away(self.files.workspace, self.order.runner.owner)
        self.files.ended("clone").touch()
        return cloned

    def _job(self, status: Status, limits: Limits) -> Status:
        if self.network is not None:
            self.network.enter()
        started_at = time.time()
        job_ends_at = time.monotonic() + self.order.job_seconds
        limits = replace(
            limits, deadline=min(limits.deadline, job_ends_at), memory_bytes=self.order.memory_bytes
        )
        log = CriLog(os.open(self.files.log("job"), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC))
        try:
            ended = run_container(self._command(), limits, self.signal_pipe, log.write)
        finally:
            log.close()
        limit: Literal["job", "run"] | None = (
            ("job" if limits.deadline == job_ends_at else "run") if ended.timed_out else None
        )
        return replace(
            status,
            stopped=ended.stopped,
            out_of_memory=ended.out_of_memory,
            time_limit=limit,
            exit_code=ended.exit_code,
            started_at=started_at,
            finished_at=time.time(),
            termination=_read_termination(self.files.state / "termination"),
            outputs=collect(self.files.state / FILE) if self.order.has_outputs else None,
        )

    def _command(self) -> Command:
        environment = {"PATH": SYSTEM_PATH, MARK: self.order.uid}
        argv = ("/bin/sh", MEMORY)
        return Command(
            argv, environment, str(self.files.workspace), self.order.runner, self.order.driver.encode()
        )


def _read_termination(path: Path) -> str:
    """Read the termination file. The job's user wrote it, so it may be anything, or missing."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return os.read(descriptor, _TERMINATION_BYTES).decode("utf-8", "replace")
        finally:
            os.close(descriptor)
    return ""
