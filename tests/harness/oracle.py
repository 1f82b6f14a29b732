"""A witness outside the system: a file to which user code appends a line each time it starts."""

import secrets
import shlex
from pathlib import Path


class Oracle:
    """The file, in a folder that the local cluster's jobs may write (`TOWPATH_LOCAL_MOUNTS`)."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / f"oracle-{secrets.token_hex(4)}"
        self.path.touch()
        self.path.chmod(0o666)

    def append(self, text: str) -> str:
        """The shell command that adds a line; `text` stands in double quotes, so it may name variables."""
        return f'echo "{text}" >> {shlex.quote(str(self.path))}'

    @property
    def lines(self) -> list[str]:
        return self.path.read_text().splitlines()
