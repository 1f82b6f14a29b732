"""The directories for state, and the accounts for servers.

PostgreSQL refuses to run as root, and a server needs no rights outside its own directory. A directory that
another account uses can always be reached by that account, for any modes of the folders above it.
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
    """Return the account that a server runs as. None means the current account.

    For root it is the first existing account of `preferred` and `nobody`.
    """
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    for name in (*preferred, "nobody"):
        if name in known:
            return name
    raise DevstackError("running as root, and there is no unprivileged account to run servers as")


def own_directory(path: Path, account: str | None) -> Path:
    """Create a private directory of that account. An existing directory keeps its contents."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o700)
    if account is not None:
        entry = pwd.getpwnam(account)
        os.chown(path, entry.pw_uid, entry.pw_gid)
    return path


def state_directory(checkout: Path) -> Path:
    """Return the directory `.towpath` of the checkout.

    If root's checkout is below a folder that other accounts cannot enter, it is a link to a directory of our
    own in /var/tmp.
    """
    directory = checkout / ".towpath"
    if os.geteuid() == 0 and not directory.exists() and not reachable(checkout, "nobody"):
        digest = hashlib.sha256(str(checkout.resolve()).encode()).hexdigest()[:12]
        directory.unlink(missing_ok=True)  # a link whose target was deleted
        directory.symlink_to(_our_own(OPEN_FOLDER / f"towpath-{digest}"), target_is_directory=True)
    directory.mkdir(exist_ok=True)
    directory = directory.resolve()
    # Other accounts pass through it to their own directories. Jobs may not list it, and do not see it at all.
    directory.chmod(0o711)
    return directory


def scratch_directory() -> Path:
    """Create a directory for a test's servers that the servers' accounts can reach.

    The caller deletes it.
    """
    directory = Path(tempfile.mkdtemp(prefix="towpath-"))
    if os.geteuid() == 0 and not reachable(directory.parent, "nobody"):
        directory.rmdir()
        directory = Path(tempfile.mkdtemp(prefix="towpath-", dir=OPEN_FOLDER))
    directory.chmod(0o711)
    return directory


def open_temporary_file(prefix: str, suffix: str) -> Path:
    """Create an empty file that stays after this process has ended, such as a log."""
    descriptor, name = tempfile.mkstemp(prefix=prefix, suffix=suffix)
    os.close(descriptor)
    return Path(name)


def reachable(directory: Path, account: str) -> bool:
    """Return True if the account can enter the directory.

    The kernel decides, so access control lists are included. Only root can check this.
    """
    entry = pwd.getpwnam(account)
    asked = subprocess.run(
        ["test", "-x", str(directory)], user=entry.pw_uid, group=entry.pw_gid, extra_groups=[], check=False
    )
    return asked.returncode == 0


def kept_secret(path: Path) -> str:
    """Return a random password. It is created at first use in a file that only its owner can read."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(16))
    return path.read_text()


def _our_own(directory: Path) -> Path:
    """Create the directory, or return the existing one. Raises DevstackError if somebody else owns it."""
    directory.mkdir(mode=0o711, exist_ok=True)
    if directory.is_symlink() or directory.stat().st_uid != os.geteuid():
        raise DevstackError(f"{directory} belongs to somebody else: remove it")
    return directory
