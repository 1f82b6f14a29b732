"""The container `clone` of a local pod: a checkout by processes of the pod, as the clone's user."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from services.executor.checkout import Checkout, GaveUp, Sink, make_repository
from services.executor.local.container import Limits, run_container
from services.executor.local.cri_log import CriLog
from services.executor.local.order import CloneOrder
from services.executor.local.pod_files import MARK, CloneStatus, PodFiles
from services.executor.local.processes import SYSTEM_PATH, Command
from services.executor.local.signal_pipe import SignalPipe
from services.executor.trees import give_away


def clone(
    order: CloneOrder, files: PodFiles, uid: str, limits: Limits, signal_pipe: SignalPipe
) -> CloneStatus:
    """Fetch and check out the commit. The log is complete when this returns."""
    limits = replace(limits, deadline=min(limits.deadline, time.monotonic() + order.seconds))
    log = CriLog(os.open(files.log("clone"), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC))
    try:
        checkout = Checkout(order, _Git(order, files, uid, limits, signal_pipe), log.write, files.workspace)
        try:
            make_repository(files.workspace, order)
        except OSError as error:
            return CloneStatus(1, f"The clone can't be made: {error}.", stopped=False, timed_out=False)
        if order.runner.owner is not None:
            give_away(files.workspace, order.runner.owner)
        checkout.run()
    except GaveUp as error:
        return CloneStatus(error.exit_code or 1, checkout.complaint, error.stopped, error.timed_out)
    finally:
        log.close()
    return CloneStatus(0, "", stopped=False, timed_out=False)


@dataclass(frozen=True, slots=True)
class _Git:
    """Runs git as the order's user."""

    order: CloneOrder
    files: PodFiles
    uid: str
    limits: Limits
    signal_pipe: SignalPipe

    def __call__(self, arguments: Sequence[str], variables: Mapping[str, str], sink: Sink) -> int:
        # The signal of a stop may have arrived together with the end of the previous command.
        if self.limits.stop_requested():
            raise GaveUp(143, stopped=True)
        home = str(self.files.git)  # has .gitconfig, the only settings that a local upload-pack also reads
        environment = {**variables, "PATH": SYSTEM_PATH, "HOME": home, MARK: self.uid}
        command = Command(("git", *arguments), environment, str(self.files.workspace), self.order.runner)
        ended = run_container(command, self.limits, self.signal_pipe, sink)
        if ended.stopped or ended.timed_out:
            raise GaveUp(ended.exit_code, stopped=ended.stopped, timed_out=ended.timed_out)
        return ended.exit_code
