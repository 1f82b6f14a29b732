"""Writes the directory of an ended local pod: a loud job's log in CRI format, and the mark of its end."""

import hashlib
import shutil
from pathlib import Path

from bench import loud

_LINES_A_SECOND = 1_000_000


def write_pod(directory: Path, lines: int) -> str:
    """Write the directory, replacing an old one. Return the SHA-256 of the lines' content."""
    shutil.rmtree(directory, ignore_errors=True)
    for folder in ("log", "ended"):
        (directory / folder).mkdir(parents=True)
    digest = hashlib.sha256()
    with (directory / "log" / "job.log").open("wb", buffering=1 << 20) as log:
        for number, line in enumerate(loud.content(lines)):
            digest.update(line)
            log.write(
                b"2026-01-01T00:00:%02d.%06d000Z stdout F %b"
                % (number // _LINES_A_SECOND % 60, number % _LINES_A_SECOND, line)
            )
    (directory / "ended" / "job").touch()
    return digest.hexdigest()
