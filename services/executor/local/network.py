"""The network namespace of an executor's jobs, and the program that connects it with other machines.

In the namespace, loopback belongs to the jobs: servers on the machine's loopback, including those of the
services, can't be reached. slirp4netns carries IPv4 connections from the namespace to other addresses, as the
program of an ordinary user would. The namespace and its program belong to a fork server and to all
supervisors that it has started. They last until the last of these has ended: each holds an end of a pipe, and
the program ends when the pipe is closed.
"""

import contextlib
import ctypes
import fcntl
import os
import select
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn

from services.executor.local.processes import SIGNALS_TO_RESET

Choice = Literal["auto", "own", "shared"]
PROGRAM = "slirp4netns"
NAME_SERVER = "10.0.2.3"
"""The program's address in the namespace, as a name server. It forwards to the machine's name server."""
_RESOLV_CONF = Path("/etc/resolv.conf")

_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000
_START_SECONDS = 10.0
_COMPLAINT_BYTES = 4096
_NO_COMPLAINTS = ("WARNING: Support for", "sent tapfd", "received tapfd", "Starting slirp", "* ")
_libc = ctypes.CDLL(None, use_errno=True)


class NetworkUnusable(Exception):
    """Jobs can't have a network of their own. The text gives the reason."""


@dataclass(frozen=True, slots=True)
class Network:
    """Descriptors of the network. A fork of this process has copies of them."""

    namespace: int
    user_namespace: int | None
    """To be entered first if this process is not root."""
    program: int
    """A pidfd of the program."""
    lifeline: int
    """The program ends when all copies of it are closed."""

    def lives(self) -> bool:
        poll = select.poll()
        poll.register(self.program, select.POLLIN)
        return not poll.poll(0)

    def enter(self) -> None:
        """Move this process, and everything that it starts from then on, into the network.

        Raises OSError. Only for a process with one thread.
        """
        if self.user_namespace is not None:
            _setns(self.user_namespace, _CLONE_NEWUSER)
        _setns(self.namespace, _CLONE_NEWNET)

    def close(self) -> None:
        for descriptor in (self.namespace, self.user_namespace, self.program, self.lifeline):
            if descriptor is not None:
                os.close(descriptor)


def make_network(program: str) -> Network:
    """Make a namespace, and start the program for it. Raises NetworkUnusable.

    Only for a process with one thread, whose children the kernel reaps.
    """
    said, say = os.pipe2(os.O_CLOEXEC)
    end, stay = os.pipe2(os.O_CLOEXEC)
    try:
        holder = os.fork()
        if holder == 0:
            os.close(stay)
            _hold(say, end)
        os.close(say)
        say = -1
        complaint = os.read(said, _COMPLAINT_BYTES)
        if complaint != b"!":
            why = complaint.decode("utf-8", "replace")
            raise NetworkUnusable(f"no network namespace can be made here: {why or 'the process ended'}")
        return _connected(program, holder)
    except OSError as error:
        raise NetworkUnusable(str(error)) from error
    finally:
        for descriptor in (said, say, end, stay):
            if descriptor != -1:
                os.close(descriptor)


def _hold(say: int, end: int) -> NoReturn:
    """Make the namespaces in this process, and keep them until the parent has opened them."""
    try:
        _new_namespaces()
        os.write(say, b"!")
        os.read(end, 1)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.write(say, str(error).encode())
    finally:
        os._exit(0)


def _new_namespaces() -> None:
    """Make the namespaces. Unless root, this process also needs a user namespace, as the same user."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        _unshare(_CLONE_NEWNET)
        return
    _unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        Path("/proc/self", name).write_text(text)


def _connected(program: str, holder: int) -> Network:
    """Start the program for the holder's namespaces. Raises NetworkUnusable, OSError."""
    with contextlib.ExitStack() as undo:
        names = ("net",) if os.geteuid() == 0 else ("net", "user")
        spaces = {name: os.open(f"/proc/{holder}/ns/{name}", os.O_RDONLY | os.O_CLOEXEC) for name in names}
        for descriptor in spaces.values():
            undo.callback(os.close, descriptor)
        ended, lifeline = os.pipe2(os.O_CLOEXEC)
        undo.callback(os.close, lifeline)
        try:
            pidfd = _start(program, holder, ended, has_user_namespace="user" in spaces)
        finally:
            os.close(ended)
        undo.pop_all()
    return Network(spaces["net"], spaces.get("user"), pidfd, lifeline)


def _start(program: str, holder: int, ended: int, *, has_user_namespace: bool) -> int:
    """Start the program, and return its pidfd when it is ready. Raises NetworkUnusable, OSError."""
    with contextlib.ExitStack() as undo:
        output = _bounded_memory()
        undo.callback(os.close, output)
        ready, tell = os.pipe2(os.O_CLOEXEC)
        undo.callback(os.close, ready)
        try:
            pid = _spawn(
                _command(program, holder, has_user_namespace=has_user_namespace),
                (output, output, ended, tell),
            )
        finally:
            os.close(tell)
        is_ready = _wait_for(ready)
        with contextlib.suppress(ProcessLookupError):
            if is_ready:
                return os.pidfd_open(pid)
            os.kill(pid, signal.SIGKILL)
        raise NetworkUnusable(
            f"{program} does not work here: {_read_memory(output) or 'it did not start in time'}"
        )


def _command(program: str, holder: int, *, has_user_namespace: bool) -> list[str]:
    """Return the program's command. Raises NetworkUnusable.

    The program ends when its descriptor 3 is closed, and reports on its descriptor 4 that it is ready.

    As root, the program makes a sandbox, which drops root's rights. Without these rights it can't make one,
    and has none to drop. The sandbox unmounts everything that it does not need, but version 1.2.0 makes only
    `/` private first. Below a shared mount, such as the folder of a kubelet, the machine's own mounts would
    be unmounted too. The program therefore gets private mounts.
    """
    found = shutil.which(program)
    if found is None:
        raise NetworkUnusable(f"{program} is not installed")
    way = f"--userns-path=/proc/{holder}/ns/user" if has_user_namespace else "--enable-sandbox"
    options = ["--configure", "--mtu=65520", "--disable-host-loopback", "--enable-seccomp", way]
    target = ["--exit-fd=3", "--ready-fd=4", "--netns-type=path", f"/proc/{holder}/ns/net", "tap0"]
    mounts = [] if has_user_namespace else ["unshare", "--mount", "--propagation", "private"]
    return [*mounts, found, *options, *target]


def _spawn(argv: list[str], descriptors: Sequence[int]) -> int:
    """Start a command with these descriptors as 1, 2 and so on.

    They are copied to high numbers first, so that none overwrites another.
    """
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 100) for descriptor in descriptors]
    actions: list[tuple[int, int, str, int, int] | tuple[int, int, int]] = []
    actions += [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0)]
    actions += [(os.POSIX_SPAWN_DUP2, source, target) for target, source in enumerate(high, 1)]
    reset = SIGNALS_TO_RESET
    try:
        return os.posix_spawnp(
            argv[0], argv, {}, file_actions=actions, setsid=True, setsigmask=(), setsigdef=reset
        )
    finally:
        for descriptor in high:
            os.close(descriptor)


def _wait_for(ready: int) -> bool:
    """Return whether the program reported that it is ready. False if it ended or takes too long."""
    poll = select.poll()
    poll.register(ready, select.POLLIN)
    return bool(poll.poll(_START_SECONDS * 1000)) and os.read(ready, 1) == b"1"


def _bounded_memory() -> int:
    """Return a file for the program's output. Its size is fixed; output that does not fit is dropped."""
    memory = os.memfd_create("towpath-network", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(memory, _COMPLAINT_BYTES)
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return memory


def _read_memory(memory: int) -> str:
    """Return the first line that is an error message."""
    text = os.pread(memory, _COMPLAINT_BYTES, 0).rstrip(b"\0").decode("utf-8", "replace")
    return next((line for line in text.splitlines() if not line.startswith(_NO_COMPLAINTS)), "")


def try_command(network: Network, argv: Sequence[str], wanted: str) -> str:
    """Run a command in the network. Returns why it does not write `wanted`; empty if it does."""
    said, say = os.pipe2(os.O_CLOEXEC)
    if os.fork() == 0:
        _become(network, argv, say)
    os.close(say)
    text = b""
    deadline = time.monotonic() + _START_SECONDS
    poll = select.poll()
    poll.register(said, select.POLLIN)
    with os.fdopen(said, "rb", buffering=0) as file:
        while poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            part = file.read(_COMPLAINT_BYTES)
            if not part:
                break
            text += part
        else:
            return f"{argv[0]} does not end in it"
    answer = text.decode("utf-8", "replace").strip()
    return "" if answer == wanted else answer.rpartition("\n")[2] or "a job in it does not start"


def _become(network: Network, argv: Sequence[str], say: int) -> NoReturn:
    try:
        network.enter()
        os.dup2(say, 1)
        os.dup2(say, 2)
        for number in SIGNALS_TO_RESET:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.execvpe(argv[0], list(argv), {})  # noqa: S606 - no shell is the point
    except OSError as error:
        os.write(say, f"{argv[0]}: {error}".encode())
    finally:
        os._exit(127)


def name_servers_are_local(text: str) -> bool:
    """Return whether a resolv.conf(5) names only servers on the machine's loopback, or no servers."""
    fields = [line.split() for line in text.splitlines()]
    servers = [field[1] for field in fields if len(field) > 1 and field[0] == "nameserver"]
    return all(server.startswith("127.") or server == "::1" for server in servers)


def machines_resolv_conf() -> str:
    """Return the machine's resolv.conf; empty if there is none."""
    with contextlib.suppress(OSError):
        return _RESOLV_CONF.read_text(encoding="utf-8", errors="replace")
    return ""


def resolv_conf(machine: str) -> str:
    """Return the resolv.conf of the namespace: the machine's, with the program as name server."""
    kept = [
        line for line in machine.splitlines() if line.split()[:1] in (["search"], ["options"], ["domain"])
    ]
    return "".join(f"{line}\n" for line in (f"nameserver {NAME_SERVER}", *kept))


def resolv_conf_place() -> Path:
    """Return the path of the file itself, because its usual name may be a link."""
    return _RESOLV_CONF.resolve()


def _unshare(flags: int) -> None:
    if _libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _setns(descriptor: int, kind: int) -> None:
    if _libc.setns(descriptor, kind) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
