"""Isolates jobs from the machine and from each other: by a user of their own, and by bubblewrap if it works.

In the sandbox, the system is read-only, and the files of people and of this installation are hidden. A job
can write to its own folders, to its own /tmp, /var/tmp and /dev/shm, and to the folders that are mounted for
all jobs. Without the sandbox, a job can read everything that its user can read.
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
_KEPT = ("/run/systemd/resolve", "/run/resolvconf", "/run/nscd")  # needed to resolve host names

_PROBES = 5
"""Number of tries. One fails if a mount of the machine disappears while bubblewrap binds the mount."""
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
    """Jobs can't be run as the settings require. The text gives the reason and a remedy."""


@dataclass(frozen=True, slots=True)
class User:
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The isolation of jobs and clones. A user that is None is the service's own, which is not root."""

    job_user: User | None
    clone_user: User | None
    mounts: tuple[Path, ...] = ()
    hidden: tuple[Path, ...] = ()
    masked: tuple[Path, ...] = field(default=())
    """Files that appear empty."""
    bubblewrap: bool = False
    shm_bytes: int | None = 64 << 20
    """Size of the job's /dev/shm in bubblewrap. None: half of the machine's memory, the kernel's limit."""
    tmp_bytes: int | None = 1 << 30
    """Size of each other folder in memory that the job may write, /tmp and /var/tmp. None: as above."""
    resolv_conf: tuple[Path, Path] | None = None
    """(file, path) of a resolv.conf(5) that jobs in bubblewrap see instead of the machine's."""
    account_files: accounts.AccountFiles | None = None
    """Files that define the job's user in bubblewrap. None: the machine's files."""

    @property
    def job_name(self) -> str:
        """The name of the job's user."""
        return accounts.NAME if self.account_files is None else self.account_files.account.name

    def job(self, folder: Path, workspace: Path) -> Runner:
        """Return the runner for user code, which starts in its workspace.

        All files of the job are in one folder, because bubblewrap takes most of a millisecond to bind each.
        """
        ours = [*self._account(folder / "home"), *self._resolver()]
        return self._runner(self.job_user, [*self.mounts, folder], [], workspace, ours)

    def clone(self, workspace: Path, readable: Sequence[Path]) -> Runner:
        """Return the runner for git. Its user is not the jobs', so no job can read git's environment."""
        return self._runner(self.clone_user, [workspace], readable, workspace)

    def _resolver(self) -> list[str]:
        return [] if self.resolv_conf is None else ["--ro-bind", *map(str, self.resolv_conf)]

    def _account(self, home: Path) -> list[str]:
        """Return arguments for the files that define the job's user, and for the home folder in them."""
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
        """Return arguments that make the parents of these paths in hidden folders, outermost first.

        Bubblewrap would make them accessible only to root.
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
    """Return the arguments that run a command as this user.

    Root starts bubblewrap without a user namespace, keeps the capabilities that it needs to become another
    user, and loses them by becoming that user. `chroot` to the same root is the cheapest program that does
    this; ids with a plus are not looked up.
    """
    if user is None:
        return ["--"]
    keep = [text for right in ("CAP_SETUID", "CAP_SETGID", "CAP_SYS_CHROOT") for text in ("--cap-add", right)]
    return [*keep, "--", "chroot", f"--userspec=+{user.uid}:+{user.gid}", "--groups=", "--skip-chdir", "/"]


@lru_cache(maxsize=1024)
def _way(folder: str, emptied: frozenset[str]) -> tuple[str, ...]:
    """Return the folders from below an emptied folder down to this one; none if it is not in one."""
    if not folder or folder in emptied:
        return ()
    above = folder.rpartition("/")[0]
    further = _way(above, emptied)
    return (*further, folder) if further or above in emptied else ()


@lru_cache(maxsize=8)
def _existing(paths: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(path for path in paths if Path(path).is_dir() and not Path(path).is_symlink())


def private_folders(secrets: Path | None, local: Path) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Return the folders to hide and the files to mask.

    Hidden are the folder of the pods, its parents that are closed to others, and the folder of the key file
    if it is closed. If it is not closed, the key file is masked.
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
    """Return whether others may not list and enter the folder, so that it is not meant for jobs."""
    return folder != Path("/") and folder.stat().st_mode & _FOR_OTHERS != _FOR_OTHERS


async def choose(choice: Choice, sandbox: Sandbox, local: Path) -> Sandbox:
    """Return the sandbox, with bubblewrap if that is wanted and works. Raises SandboxUnusable."""
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
        "jobs_not_sandboxed", why=complaint, consequence="jobs can read everything that their user can read"
    )
    return sandbox


async def _probe(sandbox: Sandbox, local: Path) -> str:
    """Return why user code could not run in this sandbox; empty if it could."""
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
    """Return why a job's process can't be ended, or not be found once its supervisor is gone; else empty.

    Not checked with bubblewrap, because the kernel ends its processes.
    """
    try:
        os.kill(pid, 0)
    except PermissionError:
        return "its processes can't be stopped"
    return "" if marked(mark) else "its processes can't be found by their environment"
