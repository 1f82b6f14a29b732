"""Fetches the files of the page at `/docs` with npm, in the versions of their lock file."""

import shutil
import subprocess
from collections.abc import Callable

from devstack.stack import CHECKOUT

_WEB = CHECKOUT / "services" / "gateway" / "web"
_SECONDS = 120


def fetch_assets(say: Callable[[str], None]) -> bool:
    """Fetch the files, and return True if they are present afterwards. Safe to repeat.

    Without npm or the registry everything else works, and the page names what is missing.
    """
    installed = _WEB / "node_modules" / ".package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= (_WEB / "package-lock.json").stat().st_mtime:
        return True
    npm = shutil.which("npm")
    if npm is None:
        say("npm is not installed: the page at /docs will be without its viewer")
        return False
    try:
        done = subprocess.run(
            [npm, "ci", "--no-audit", "--no-fund"],
            cwd=_WEB,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        say(f"npm took over {_SECONDS} s: the page at /docs will be without its viewer; try `make assets`")
        return False
    if done.returncode != 0:
        say(
            "npm could not fetch the viewer of the page at /docs; try `make "
            f"assets`:\n{done.stderr.strip()[-1000:]}"
        )
        return False
    installed.touch()  # npm keeps the lock file's time
    return True
