"""How jobs are kept apart from the machine and from each other: as a user of their own, in bubblewrap where a
probe shows that it works.

In the sandbox the system is read-only, and what belongs to people or to this installation is hidden; a job
writes in its own folders, in /tmp and /dev/shm (its own) and in the folders that were mounted for all jobs.
Without the sandbox a job can read what its user can read.
"""

import asyncio
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import structlog

from services.executor.local import accounts
from services.executor.local.order import Runner
from services.executor.local.pod_files import MARK
from services.executor.local.processes import SYSTEM_PATH, marked
from services.executor.trees import remove_tree

_log = structlog.get_logger()
_PRIVATE = ("/tmp", "/var/tmp")  # noqa: S108 - to be replaced by empty ones
_EMPTY = ("/home", "/root", "/run")
_KEPT = ("/run/systemd/resolve", "/run/resolvconf", "/run/nscd")  # names would not be resolved without them

_PROBES = 5
"""A mount of the machine that goes while bubblewrap binds it makes one fail; that is no reason to do without.
"""
_PROBE_SECONDS = 10
_TRIAL = (
    'cd -- "$0" && mkdir of-all && chmod 1777 of-all && : > of-all/made && '
    'test "$(id -u)" = "$1" && echo ready && read -r end'
)
_FOR_OTHERS = stat.S_IROTH | stat.S_IXOTH

Choice = Literal["auto", "bubblewrap", "none"]


_NEEDS = (
    "An executor that is root needs the capabilities "
    "SETUID, SETGID, KILL, CHOWN, DAC_OVERRIDE, FOWNER and SYS_PTRACE."
)


class SandboxUnusable(Exception):
    """Jobs can't be run as the settings ask; the text says why and what would help."""


@dataclass(frozen=True, slots=True)
class User:
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Sandbox:
    """`user` None: the service's own, which is not root."""

    job_user: User | None
    clone_user: User | None
    mounts: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()
    masked: tuple[Path, ...] = field(default=())
    """Files that read as empty."""
    bubblewrap: bool = False
    shm_bytes: int | None = 64 << 20
    """Size of the job's /dev/shm in bubblewrap. None: half of the machine's memory, the kernel's limit."""
    tmp_bytes: int | None = 1 << 30
    """Size of each other folder in memory that the job may write, /tmp and /var/tmp; None: as above."""
    resolv_conf: tuple[Path, Path] | None = None
    """(file, place) of a resolv.conf(5) that jobs in bubblewrap see instead of the machine's."""
    account_files: accounts.AccountFiles | None = None
    """What says in bubblewrap who the job's user is. None: the machine's files."""

    @property
    def job_name(self) -> str:
        """Of the job's user."""
        return accounts.NAME if self.account_files is None else self.account_files.account.name

    def job(self, folder: Path, workspace: Path) -> Runner:
        """For user code: all of its own is in one folder, for each that bubblewrap binds takes it most of a
        millisecond. It begins in its workspace.
        """
        ours = [*self._account(folder / "home"), *self._resolver()]
        return self._runner(self.job_user, [*self.mounts, folder], [], workspace, ours)

    def clone(self, workspace: Path, readable: Sequence[Path]) -> Runner:
        """For git, which is another user than user code: no process of a job can look at its environment."""
        return self._runner(self.clone_user, [workspace], readable, workspace)

    def _resolver(self) -> list[str]:
        return [] if self.resolv_conf is None else ["--ro-bind", *map(str, self.resolv_conf)]

    def _account(self, home: Path) -> list[str]:
        """The job's user and its home folder, by the name that the user's entry gives it."""
        if self.account_files is None or "/run" not in _existing(_EMPTY):
            return []
        binds = [
            text for file, place in self.account_files.binds for text in ("--ro-bind", str(file), str(place))
        ]
        return [*binds, "--symlink", str(home), accounts.HOME]

    def _runner(
        self,
        user: User | None,
        writable: Sequence[Path],
        readable: Sequence[Path],
        folder: Path,
        ours: Sequence[str] = (),
    ) -> Runner:
        ids = None if user is None else (user.uid, user.gid)
        if not self.bubblewrap:
            return Runner((), ids, ids)
        bound = [("--ro-bind", path) for path in readable] + [("--bind", path) for path in writable]
        binds = [text for how, path in bound for text in (how, str(path), str(path))]
        ways = self._ways([path for _, path in bound])
        seen = [*SYSTEM, *self._shm(), *self._hide(), *ours, *ways, *binds]
        prefix = [*seen, "--chdir", str(folder), *_change_user(user)]
        return Runner(tuple(prefix), None, ids)

    def _ways(self, paths: Sequence[Path]) -> list[str]:
        """The folders above these in what is hidden, outermost first: bubblewrap would make them for root
        alone.
        """
        emptied = frozenset((*_PRIVATE, *_EMPTY, *map(str, self.hidden)))
        ways = dict.fromkeys(way for path in paths for way in _way(str(path).rpartition("/")[0], emptied))
        return [text for way in ways for text in ("--perms", "0755", "--dir", way)]

    def _shm(self) -> list[str]:
        shm = "/dev/shm"  # noqa: S108 - the job's own
        return ["--perms", "1777", *_size(self.shm_bytes), "--tmpfs", shm]

    def _hide(self) -> list[str]:
        arguments = []
        for path in _existing(_PRIVATE):
            arguments += ["--perms", "1777", *_size(self.tmp_bytes), "--tmpfs", path]
        for path in [*_existing(_EMPTY), *map(str, self.hidden)]:
            arguments += [*_size(self.tmp_bytes), "--tmpfs", path]
        for path in _KEPT:
            arguments += ["--ro-bind-try", path, path]
        for masked in self.masked:
            arguments += ["--ro-bind", "/dev/null", str(masked)]
        return arguments


SYSTEM = (
    "bwrap",
    "--unshare-pid",
    "--unshare-ipc",
    "--die-with-parent",
    "--ro-bind",
    "/",
    "/",
    "--dev",
    "/dev",
    "--proc",
    "/proc",
)


def _size(wanted: int | None) -> list[str]:
    return [] if wanted is None else ["--size", str(wanted)]


def _change_user(user: User | None) -> list[str]:
    """Root starts bubblewrap without a user namespace, keeps what it takes to become another user, and loses
    it by that.

    `chroot` of the same root is the cheapest program that does it; ids with a plus are not looked up.
    """
    if user is None:
        return ["--"]
    keep = [text for right in ("CAP_SETUID", "CAP_SETGID", "CAP_SYS_CHROOT") for text in ("--cap-add", right)]
    return [*keep, "--", "chroot", f"--userspec=+{user.uid}:+{user.gid}", "--groups=", "--skip-chdir", "/"]


@lru_cache(maxsize=1024)
def _way(folder: str, emptied: frozenset[str]) -> tuple[str, ...]:
    """The folders from below an emptied one down to this one; none where it is not in an emptied one."""
    if not folder or folder in emptied:
        return ()
    above = folder.rpartition("/")[0]
    further = _way(above, emptied)
    return (*further, folder) if further or above in emptied else ()


@lru_cache(maxsize=8)
def _existing(paths: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(path for path in paths if Path(path).is_dir() and not Path(path).is_symlink())


def private_folders(secrets: Path | None, local: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """What to hide and what to mask: the pods' folder, its parents that are closed to others, and the key
    file with its folder where that is closed.
    """
    hidden = {local, *(parent for parent in local.parents if _is_closed(parent))}
    masked = []
    if secrets is not None:
        key = secrets.resolve()
        if _is_closed(key.parent):
            hidden.add(key.parent)
        else:
            masked.append(key)
    already = {Path(path) for path in (*_PRIVATE, *_EMPTY)}
    outermost = [
        path
        for path in hidden
        if not any(parent in hidden or parent in already for parent in path.parents) and path not in already
    ]
    return tuple(sorted(outermost)), tuple(
        path for path in masked if not any(parent in hidden or parent in already for parent in path.parents)
    )


def _is_closed(folder: Path) -> bool:
    """Whether others may not look into it: then nobody meant jobs to."""
    return folder != Path("/") and folder.stat().st_mode & _FOR_OTHERS != _FOR_OTHERS


async def choose(choice: Choice, sandbox: Sandbox, local: Path) -> Sandbox:
    """The sandbox with bubblewrap where that is wanted and works. Raises SandboxUnusable."""
    user = sandbox.job_user or User(os.getuid(), os.getgid())
    sandbox = replace(sandbox, account_files=accounts.write_account_files(local, user.uid, user.gid))
    wrapped = replace(sandbox, bubblewrap=True)
    complaint = "not wanted"
    for _ in range(_PROBES if choice != "none" else 0):
        complaint = await _probe(wrapped, local)
        if not complaint:
            return wrapped
        if "--size" in complaint and wrapped.shm_bytes is not None:
            _log.warning("folders_in_memory_not_limited", why=complaint, needs="bubblewrap 0.7 or newer")
            wrapped = replace(wrapped, shm_bytes=None, tmp_bytes=None)
    if choice == "bubblewrap":
        raise SandboxUnusable(f"bubblewrap does not work here: {complaint}")
    complaint_without = await _probe(sandbox, local)
    if complaint_without:
        passing = f"Every folder above {local} must let others pass (chmod o+x)."
        raise SandboxUnusable(f"jobs can't run as their user: {complaint_without}. {_NEEDS} {passing}")
    _log.warning(
        "jobs_not_sandboxed", why=complaint, consequence="jobs can read whatever their user can read"
    )
    return sandbox


async def _probe(sandbox: Sandbox, local: Path) -> str:
    """Why user code could not run this way; empty when it could."""
    trial = local / f".probe-{os.urandom(4).hex()}"
    trial.mkdir(mode=0o711)
    workspace = trial / "workspace"
    workspace.mkdir(mode=0o700)
    try:
        runner = sandbox.job(workspace, workspace)
        if runner.owner is not None:
            os.chown(workspace, *runner.owner)
        wanted = os.getuid() if sandbox.job_user is None else sandbox.job_user.uid
        argv = [*runner.prefix, "/bin/sh", "-c", _TRIAL, str(workspace), str(wanted)]
        complaint = await _try(argv, runner, trial.name)
    except OSError as error:
        complaint = str(error)
    try:
        remove_tree(trial)
    except OSError as error:
        return complaint or f"its files can't be removed: {error}"
    return complaint


async def _try(argv: list[str], runner: Runner, mark: str) -> str:
    user = (
        {} if runner.user is None else {"user": runner.user[0], "group": runner.user[1], "extra_groups": ()}
    )
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": SYSTEM_PATH, MARK: mark},
        cwd="/",
        **user,  # type: ignore[arg-type]  # the stubs want each keyword by name
    )
    assert process.stdout  # noqa: S101 - a pipe, as asked for above
    try:
        begun = await asyncio.wait_for(process.stdout.readline(), _PROBE_SECONDS)
        bare = begun and not runner.prefix
        complaint = await asyncio.to_thread(_out_of_reach, process.pid, mark) if bare else ""
        _, said = await asyncio.wait_for(process.communicate(b"end\n"), _PROBE_SECONDS)
    except TimeoutError:
        process.kill()
        return "the probe hung"
    last = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return complaint if process.returncode == 0 else last or f"the probe ended with {process.returncode}"


def _out_of_reach(pid: int, mark: str) -> str:
    """Why a job's process could not be ended, or not found once its supervisor is gone; else empty.

    Not asked with bubblewrap, whose processes the kernel ends.
    """
    try:
        os.kill(pid, 0)
    except PermissionError:
        return "its processes can't be stopped"
    return "" if marked(mark) else "its processes can't be found by their environment"
