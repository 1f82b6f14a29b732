"""User code that tries to read what does not belong to it, and prints a JSON object of what it could read.

It runs inside a job, with only the standard library. Secrets are texts of the form that the test gives to its
passwords, and lines of a key file. The job's own folder and its environment hold one secret each. An empty
list therefore means that the search is broken, not that there is nothing to find.
"""

import contextlib
import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SECRET = re.compile(rb"needle[0-9a-f]{32}|(?<![\w+/])\d+:[A-Za-z0-9+/]{43}=")
IMAGE = {"/proc", "/sys", "/dev", "/usr", "/opt"}
"""Folders that are not searched: file systems of the kernel, and folders of the image, mounted read-only."""
CLOSED = (
    "/etc/towpath",
    "/etc/towpath/keys",
    "/var/lib/towpath/local/pods",
    "../../pod.json",
    "../../log",
    "../../log/job.log",
    "../../supervisor.lock",
)
CONNECT = """
import asyncio, asyncpg, sys
try:
    address = {"host": "postgres", "user": "towpath", "database": "towpath"}
    asyncio.run(asyncpg.connect(**address, password=sys.argv[1], timeout=20))
    print("connected")
except Exception as error:
    print(type(error).__name__)
"""


def processes() -> list[dict[str, object]]:
    """Return each visible process, with what can be read of it and whether it can be sent signals."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                found.append(process(folder))
    return found


def process(folder: Path) -> dict[str, object]:
    command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    readable = []
    for name in ("environ", "mem", "root/etc/towpath/keys"):
        with contextlib.suppress(PermissionError), (folder / name).open("rb") as file:
            file.seek(1 << 20 if name == "mem" else 0)
            readable.append(name)
    for name in ("fd", "cwd/", "root/"):
        with contextlib.suppress(PermissionError):
            list((folder / name).iterdir())
            readable.append(name)
    try:
        os.kill(int(folder.name), 0)
        readable.append("signals")
    except PermissionError:
        pass
    return {"command": command, "uid": folder.stat().st_uid, "readable": readable}


def environment_secrets() -> Iterator[str]:
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            yield from secrets_in(path.read_bytes())


def file_secrets() -> Iterator[str]:
    """Yield the secrets of every readable regular file. Links are not followed."""
    for folder, below, names in os.walk("/"):
        below[:] = [name for name in below if str(Path(folder, name)) not in IMAGE]
        for name in names:
            path = Path(folder, name)
            with contextlib.suppress(OSError):
                if stat.S_ISREG(path.lstat().st_mode):
                    yield from secrets_in(path.read_bytes())


def secrets_in(text: bytes) -> Iterator[str]:
    yield from (found.decode() for found in SECRET.findall(text))


def opens(path: str) -> bool:
    """Return whether the path is a readable folder or file, or a writable socket."""
    return os.access(path, os.W_OK if path.endswith(".sock") else os.R_OK)


def postgres(password: str) -> str:
    """Connect to PostgreSQL with this password and the image's driver, and return the result."""
    argv = ["/opt/towpath/venv/bin/python", "-c", CONNECT, password]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout.strip()


if __name__ == "__main__":
    report = {
        "uid": os.getuid(),
        "groups": os.getgroups(),
        "capabilities": re.findall(r"Cap(?:Prm|Eff|Amb):\s*(\w+)", Path("/proc/self/status").read_text()),
        "processes": processes(),
        "environment_secrets": sorted(set(environment_secrets())),
        "file_secrets": sorted(set(file_secrets())),
        "opened": [path for path in (*CLOSED, "/var/run/docker.sock", "/run/docker.sock") if opens(path)],
        "postgres": postgres("towpath"),
    }
    sys.stdout.write(f"REPORT {json.dumps(report)}\n")
