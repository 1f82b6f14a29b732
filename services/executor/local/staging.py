"""Makes the folder of a pod under a name that is no pod's, and puts it in place when it is complete."""

import fcntl
import json
import os
from dataclasses import asdict
from pathlib import Path

from services.executor.local.order import Order
from services.executor.local.pod_files import STAGED, Identity, PodFiles
from services.executor.local.processes import start_time
from services.executor.trees import remove_tree


def stage(order: Order) -> PodFiles:
    """Make the folder with everything except the supervisor's identity. Raises OSError."""
    files = PodFiles(Path(order.pods) / f"{STAGED}{order.uid}")
    _make_folders(order, files)
    _make_files(order, files)
    return files


def lock(staged: PodFiles) -> int:
    """Return a descriptor that holds the pod's lock until its last copy, the supervisor's, is closed.

    Only the executor's user can open the file, because a job that can open it could hold the lock. Raises
    OSError.
    """
    descriptor = os.open(staged.lock, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return descriptor


def put_in_place(order: Order, staged: PodFiles, supervisor_pid: int) -> bool:
    """Rename the folder to the pod's name. Returns False if another pod has the name. Raises OSError."""
    _identify(order, staged, supervisor_pid)
    place = Path(order.pods) / order.name
    try:
        staged.folder.rename(place)
    except OSError:
        remove_tree(staged.folder)
        if not place.exists():
            raise
        return False
    return True


def _make_folders(order: Order, files: PodFiles) -> None:
    for folder in (files.folder, files.job):
        folder.mkdir(mode=0o711)  # the job's user may enter, but not list
    for folder in (files.log("job").parent, files.ended("job").parent):
        folder.mkdir(mode=0o700)
    for folder in (files.workspace, files.home, files.state):
        folder.mkdir(mode=0o700)
        if order.runner.owner is not None:
            os.chown(folder, *order.runner.owner)


def _make_files(order: Order, files: PodFiles) -> None:
    files.log("job").touch(mode=0o600)
    if order.warnings:
        files.warnings.write_text("".join(f"{line}\n" for line in order.warnings), encoding="utf-8")
    if order.clone is not None:
        files.log("clone").touch(mode=0o600)
        files.git.mkdir(mode=0o755)
        (files.git / ".gitconfig").write_text("[safe]\n\tdirectory = *\n", encoding="utf-8")


def _identify(order: Order, files: PodFiles, pid: int) -> None:
    identity = Identity(order.uid, order.attempt_id, order.creation_token, pid, start_time(pid) or 0)
    (files.folder / "supervisor.pid").write_text(f"{pid} {identity.supervisor_start_time}", encoding="utf-8")
    files.identity.touch(mode=0o600)
    files.identity.write_text(json.dumps(asdict(identity)), encoding="utf-8")
