"""Where state is kept, and as whom servers run: PostgreSQL refuses to run as root, and a server needs no more
rights than its own directory.

Invariant: a directory that another account must use can be reached by that account, whatever the modes of the
folders above it.
"""

import hashlib
import os
import pwd
import secrets
import subprocess
import tempfile
from pathlib import Path

from devstack.errors import DevstackError

# Every account can walk into it, and it outlives a restart.
OPEN_FOLDER = Path("/var/tmp")  # noqa: S108 - only a directory that we own is used there


def account_for(*preferred: str) -> str | None:
    """The account that a server runs as: ours (None), or for root the first existing of those preferred and
    `nobody`.
    """
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    for name in (*preferred, "nobody"):
        if name in known:
            return name
    raise DevstackError("running as root, and there is no unprivileged account to run servers as")


def own_directory(path: Path, account: str | None) -> Path:
    """Make a private directory of that account, and leave an existing one's contents as they are."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    if account is not None:
        entry = pwd.getpwnam(account)
        os.chown(path, entry.pw_uid, entry.pw_gid)
    return path


def state_directory(checkout: Path) -> Path:
    """`.towpath` of the checkout.

    Where root's checkout lies below a closed folder, it is a link to a directory of our own in /var/tmp.
    """
    directory = checkout / ".towpath"
    if os.geteuid() == 0 and not directory.exists() and not reachable(checkout, "nobody"):
        digest = hashlib.sha256(str(checkout.resolve()).encode()).hexdigest()[:12]
        directory.unlink(missing_ok=True)  # a link whose target was cleaned away
        directory.symlink_to(_our_own(OPEN_FOLDER / f"towpath-{digest}"), target_is_directory=True)
    directory.mkdir(exist_ok=True)
    directory = directory.resolve()
    directory.chmod(
        0o711
    )  # others walk through it to what is theirs; jobs, which may not list it, do not see it at all
    return directory


def scratch_directory() -> Path:
    """A fresh directory for a test's servers, which the accounts they run as can reach.

    The caller deletes it.
    """
    directory = Path(tempfile.mkdtemp(prefix="towpath-"))
    if os.geteuid() == 0 and not reachable(directory.parent, "nobody"):
        directory.rmdir()
        directory = Path(tempfile.mkdtemp(prefix="towpath-", dir=OPEN_FOLDER))
    directory.chmod(0o711)
    return directory


def open_temporary_file(prefix: str, suffix: str) -> Path:
    """An empty file that stays, for a log to be read after we ended."""
    descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=suffix)
    os.close(descriptor)
    return Path(name)


def reachable(directory: Path, account: str) -> bool:
    """Whether that account can walk into the directory.

    Asked of the kernel, which also knows access lists. Only root can ask.
    """
    entry = pwd.getpwnam(account)
    asked = subprocess.run(
        ["test", "-x", str(directory)], user=entry.pw_uid, group=entry.pw_gid, extra_groups=[], check=False
    )
    return asked.returncode == 0


def kept_secret(path: Path) -> str:
    """A random password made at first use, kept in a file that only its owner reads."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(16))
    return path.read_text()


def _our_own(directory: Path) -> Path:
    """Make it, or take the one made before; one that somebody else put there is refused."""
    directory.mkdir(mode=0o711, exist_ok=True)
    if directory.is_symlink() or directory.stat().st_uid != os.geteuid():
        raise DevstackError(f"{directory} belongs to somebody else: remove it")
    return directory
