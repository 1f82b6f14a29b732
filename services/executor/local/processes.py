"""Linux processes: their identity, descendants and orphans, and the start of a pod's processes.

A process is identified by (pid, start time), because pids are reused.
"""

import contextlib
import ctypes
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from services.executor.local.order import Runner
from services.executor.local.pod_files import MARK

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
MEMORY = "/dev/fd/3"
"""The path at which a process finds the memory that it was started with."""
LIKELY_VICTIM = 500
"""The `oom_score_adj` (proc(5)) of a job: as if it used half of the machine's memory more than it does."""
_PROC = Path("/proc")
_CLONE_NEWNS = 0x20000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000
_MNT_DETACH = 2
_FLEETING = ("/run/", "/var/lib/containerd/", "/var/lib/docker/", "/var/lib/kubelet/")
_VOLUME = "/volumes/kubernetes.io~"
"""Part of the mount point of every volume of a pod, regardless of the folder of its kubelet."""
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38
SIGNALS_TO_RESET = (signal.SIGCHLD, signal.SIGUSR1, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT)
"""Signals for which Python or the fork server changes the default action."""
_libc = ctypes.CDLL(None, use_errno=True)


def start_time(pid: int) -> int | None:
    """Return the start time in clock ticks since boot; None if the process is gone or only a zombie."""
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(b")")[2].split()  # the name before it may contain any character
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def become_subreaper() -> None:
    """Make orphaned descendants children of this process instead of init's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def become_likely_victim() -> None:
    """Let the kernel end this process and what it starts before a service if memory runs out."""
    (_PROC / "self/oom_score_adj").write_text(str(LIKELY_VICTIM))


def settle_mounts(needed: Sequence[str]) -> None:
    """Detach this process from later changes of mounts, and unmount those that container runtimes make.

    Bubblewrap fails if a mount disappears while it binds the mount. The paths in `needed` stay as they are.
    Only root can do this; for other users, and if there are no such mounts, nothing changes.
    """
    mounted = [
        line.split(" ")[4]
        for line in (_PROC / "self/mountinfo").read_text(errors="surrogateescape").splitlines()
    ]  # proc(5): the mount point
    fleeting = [
        point
        for point in mounted
        if _is_fleeting(point) and not any(path == point or path.startswith(f"{point}/") for path in needed)
    ]
    if not fleeting or os.geteuid() != 0 or _libc.unshare(_CLONE_NEWNS) != 0:
        return
    _libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None)
    for point in reversed(fleeting):
        _libc.umount2(os.fsencode(point), _MNT_DETACH)


def _is_fleeting(mount_point: str) -> bool:
    return mount_point.startswith(_FLEETING) or _VOLUME in mount_point


def set_name(name: str) -> None:
    """Set the command that `ps` shows for this process; at most 15 bytes."""
    _prctl(_PR_SET_NAME, ctypes.cast(ctypes.create_string_buffer(name.encode()), ctypes.c_void_p).value or 0)


def descendants(root: int) -> list[int]:
    """Return all living processes below this one.

    The result is not a snapshot: a process that is forking may be missing.
    """
    found: list[int] = []
    waiting = [root]
    while waiting:
        below = list(_children(waiting.pop()))
        found += below
        waiting += below
    return found


def _children(pid: int) -> Iterator[int]:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in (_PROC / str(pid) / "task").iterdir():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                yield from map(int, (task / "children").read_bytes().split())


def send(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def marked(pod_uid: str) -> list[int]:
    """Find the processes of a pod by their environment, for pods whose supervisor is gone.

    Processes of other users are not found.
    """
    mark = f"{MARK}={pod_uid}".encode()
    found = []
    for entry in _PROC.iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


@dataclass(frozen=True, slots=True)
class Command:
    """A command to run, with its environment and its user."""

    argv: tuple[str, ...]
    environment: dict[str, str]
    """Variables of the command and of its sandbox. The sandbox may start as root, so none is from a user."""
    folder: str
    runner: Runner
    memory: bytes | None = None
    """Content that it can read from MEMORY until it closes descriptor 3."""


def start(command: Command, output: int) -> int:
    """Start the command in a session of its own, with one descriptor for both outputs. Returns its pid.

    It dies with this process.
    """
    memory = None if command.memory is None else _memory_file(command.memory)
    try:
        return _spawn(command, output, memory) if command.runner.prefix else _fork(command, output, memory)
    finally:
        if memory is not None:
            os.close(memory)


def _spawn(command: Command, output: int, memory: int | None) -> int:
    """Start the sandbox. It sets folder and user and dies with its parent, so no fork of this is needed."""
    argv = (*command.runner.prefix, *command.argv)
    actions: list[tuple[int, int, str, int, int] | tuple[int, int, int]] = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)
    ]
    actions += [(os.POSIX_SPAWN_DUP2, output, 1), (os.POSIX_SPAWN_DUP2, output, 2)]
    if memory is not None:
        actions.append((os.POSIX_SPAWN_DUP2, memory, 3))
    return os.posix_spawnp(
        argv[0],
        argv,
        command.environment,
        file_actions=actions,
        setsid=True,
        setsigmask=(),
        setsigdef=SIGNALS_TO_RESET,
    )


def _fork(command: Command, output: int, memory: int | None) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(command, output, memory, parent)
    return pid


def _become(command: Command, output: int, memory: int | None, parent: int) -> NoReturn:
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        if memory is not None:
            os.dup2(memory, 3)
        for number in SIGNALS_TO_RESET:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.umask(0o022)
        os.chdir(command.folder)
        if command.runner.user is not None:
            uid, gid = command.runner.user
            os.setgroups(())
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # after the change of user, which clears it
        if os.getppid() == parent:
            argv = command.argv
            os.execvpe(argv[0], argv, command.environment)  # noqa: S606 - without a shell on purpose
    except OSError as error:
        with contextlib.suppress(OSError):
            os.write(2, f"towpath: could not start {command.argv[0]}: {error}\n".encode())
    finally:
        os._exit(127)


def _memory_file(content: bytes) -> int:
    descriptor = os.memfd_create("towpath")
    os.fchmod(descriptor, 0o444)  # another user reopens it as /dev/fd/3
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(content)
    return descriptor


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")
