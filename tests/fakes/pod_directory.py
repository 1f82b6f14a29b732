"""A fake pod directory, as the local cluster's supervisor writes it.

Its CRI log files are rotated as the kubelet does it.
"""

import fcntl
import gzip
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson

from services.logsink.pod_directory import start_time

PART_BYTES = 16_384
"""Container runtimes write longer lines in parts."""
BEGINNING = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def stamp(number: int) -> bytes:
    """Return a time in RFC 3339 with nine digits of fraction. A higher number gives a later time."""
    at = BEGINNING + timedelta(microseconds=number)
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f").encode() + b"%03dZ" % (number % 1000)


def cri(text: bytes, *, first: int = 0, part_bytes: int = PART_BYTES, stream: bytes = b"stdout") -> bytes:
    """Return the CRI log records of this output.

    Parts of a long line except its last one, and a last line without a line feed, have the tag P. `first` is
    the number of the first record's time.
    """
    records: list[bytes] = []
    for line in lines_of(text):
        content = line.removesuffix(b"\n")
        parts = [content[at : at + part_bytes] for at in range(0, len(content), part_bytes)] or [b""]
        for number, part in enumerate(parts):
            is_last = number == len(parts) - 1 and line.endswith(b"\n")
            records.append(
                b"%s %s %s %s\n" % (stamp(first + len(records)), stream, b"F" if is_last else b"P", part)
            )
    return b"".join(records)


def lines_of(text: bytes) -> list[bytes]:
    """Return the lines with their line feeds. The last line may have none.

    (`bytes.splitlines` ends lines at carriage returns too.)
    """
    parts = text.split(b"\n")
    return [part + b"\n" for part in parts[:-1]] + ([parts[-1]] if parts[-1] else [])


class FakePod:
    """A pod's directory. Until `lose_supervisor`, this process is its supervisor.

    `locks=False` makes the directory as older executors did, whose supervisors held no lock.
    """

    def __init__(self, path: Path, *, locks: bool = True) -> None:
        self.path = path
        for name in ("log", "ended"):
            (path / name).mkdir(parents=True)
        self._rotations = 0
        self._lock = (path / "supervisor.lock").open("w") if locks else None
        if self._lock:
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._supervisor(os.getpid(), start_time(os.getpid()) or 0)

    def log(self, container: str = "job") -> Path:
        return self.path / "log" / f"{container}.log"

    def write(self, text: bytes, container: str = "job") -> None:
        self.append(cri(text), container)

    def append(self, records: bytes, container: str = "job") -> None:
        """Append these bytes to the log file. They need not be whole records."""
        with self.log(container).open("ab") as file:
            file.write(records)

    def rotate(self, container: str = "job", *, compress_older: bool = False) -> Path:
        """Rotate the log as the kubelet does.

        It may compress older rotated files; it renames the current file and starts a new one.
        """
        if compress_older:
            self.compress(container)
        self._rotations += 1
        rotated = self.log(container).with_name(f"{container}.log.20261123-{self._rotations:06d}")
        self.log(container).rename(rotated)
        self.log(container).touch()
        return rotated

    def compress(self, container: str = "job") -> None:
        for path in self.path.glob(f"log/{container}.log.*"):
            if path.suffix != ".gz":
                temporary = path.with_name(path.name + ".tmp")
                temporary.write_bytes(gzip.compress(path.read_bytes(), 1))
                temporary.rename(path.with_name(path.name + ".gz"))
                path.unlink()

    def end(self, container: str = "job") -> None:
        (self.path / "ended" / container).touch()

    def end_all(self, termination: str = "", *, fault: str | None = None) -> None:
        """End the pod. `termination` is the driver's file; `fault` is an error of the supervisor."""
        temporary = self.path / ".status.json"
        temporary.write_bytes(orjson.dumps({"termination": termination, "fault": fault}))
        temporary.rename(self.path / "status.json")

    def lose_supervisor(self) -> None:
        """Simulate that the supervisor was killed and that another process received its process id."""
        if self._lock:
            self._lock.close()
        self._supervisor(os.getpid(), 1)

    def remove(self) -> None:
        shutil.rmtree(self.path)

    def _supervisor(self, pid: int, started: int) -> None:
        temporary = self.path / ".pod.json"
        temporary.write_bytes(
            orjson.dumps(
                {
                    "uid": "a",
                    "attempt_id": 1,
                    "creation_token": "t",
                    "supervisor_pid": pid,
                    "supervisor_start_time": started,
                }
            )
        )
        temporary.rename(self.path / "pod.json")
