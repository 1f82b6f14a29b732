"""Creates the passwd and group files that a job sees in the sandbox.

Programs such as ssh and whoami refuse to work for a uid that has no entry. The files are those of the
machine, with an entry for the job's user. All jobs see the same two files: the home folder of the entry is a
link to the home folder of the job.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from services.executor.local.pod_files import write_whole

HOME = "/run/towpath-home"
"""The home folder of the entry, in /run, which is empty in the sandbox."""
NAME = "towpath"
_PASSWD, _GROUP = Path("/etc/passwd"), Path("/etc/group")


@dataclass(frozen=True, slots=True)
class Account:
    name: str
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class AccountFiles:
    """The files that a job sees in place of the machine's files."""

    account: Account
    binds: tuple[tuple[Path, Path], ...]
    """Pairs of our file and the path at which jobs see it."""


def write_account_files(folder: Path, uid: int, gid: int) -> AccountFiles:
    """Write the files into a folder that jobs can't write. Safe to repeat, also in two executors at once."""
    machine = _read(_PASSWD)
    who = account(machine, uid, gid)
    binds = []
    for place, text in ((_PASSWD, passwd_file(machine, who)), (_GROUP, group_file(_read(_GROUP), who))):
        file = folder / place.name
        write_whole(file, text)
        file.chmod(0o644)
        if place.is_file() and not place.is_symlink():
            binds.append((file, place))
    return AccountFiles(who, tuple(binds))


def account(machine: str, uid: int, gid: int) -> Account:
    """Return the account with the uid's name on the machine, else with a name that is unused there."""
    for line in machine.splitlines():
        fields = line.split(":")
        if len(fields) == 7 and fields[0] and fields[2] == str(uid):
            return Account(fields[0], uid, gid)
    taken = {line.partition(":")[0] for line in machine.splitlines()}
    names = (NAME, f"{NAME}-job", *(f"{NAME}-job-{number}" for number in range(len(taken) + 1)))
    return Account(next(name for name in names if name not in taken), uid, gid)


def passwd_file(machine: str, who: Account) -> str:
    others = [line for line in machine.splitlines() if line.split(":")[2:3] != [str(who.uid)]]
    return _text([f"{who.name}:x:{who.uid}:{who.gid}:Towpath job:{HOME}:/bin/sh", *others])


def group_file(machine: str, who: Account) -> str:
    lines = machine.splitlines()
    if not any(line.split(":")[2:3] == [str(who.gid)] for line in lines):
        lines.append(f"{who.name}:x:{who.gid}:")
    return _text(lines)


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _read(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""
