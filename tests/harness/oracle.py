"""Oracles record what user code did, independently of the system. Gates make user code wait."""

import secrets
import shlex
from pathlib import Path
from typing import Protocol


class Oracle(Protocol):
    """Receives a line each time user code runs the command of `append`."""

    @property
    def lines(self) -> list[str]: ...

    def append(self, text: str) -> str:
        """Return the shell command that adds a line. `text` is in double quotes, so it may name variables."""

    def spoke(self) -> str:
        """Return the shell condition that is true if there is at least one line."""


class Gate(Protocol):
    """Makes user code wait."""

    def closed(self) -> str:
        """Return the shell condition that is true until the gate is opened."""

    def open(self) -> None: ...


class FileOracle:
    """A file in a folder that the local cluster's jobs may write to (`TOWPATH_LOCAL_MOUNTS`)."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / f"oracle-{secrets.token_hex(4)}"
        self.path.touch()
        self.path.chmod(0o666)

    def append(self, text: str) -> str:
        return f'echo "{text}" >> {shlex.quote(str(self.path))}'

    def spoke(self) -> str:
        return f"[ -s {shlex.quote(str(self.path))} ]"

    @property
    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()


class FileGate:
    def __init__(self, directory: Path) -> None:
        self.path = directory / f"gate-{secrets.token_hex(4)}"

    def closed(self) -> str:
        return f"[ ! -e {shlex.quote(str(self.path))} ]"

    def open(self) -> None:
        self.path.touch()
