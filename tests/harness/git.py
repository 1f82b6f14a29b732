"""A git repository on disk."""

import subprocess
from pathlib import Path


class GitRepository:
    """A work tree whose commits jobs clone through `file://`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True)
        self._git("init", "-q", "-b", "main")
        self._git("config", "user.name", "Mona")
        self._git("config", "user.email", "mona@example.org")

    @property
    def url(self) -> str:
        return f"file://{self.directory}"

    def commit(self, files: dict[str, str], message: str = "a change") -> str:
        """Commit these files and return the new commit's SHA."""
        for name, content in files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        self._git("add", "-A")
        self._git("commit", "-q", "--allow-empty", "-m", message)
        return self.head()

    def head(self) -> str:
        return self._git("rev-parse", "HEAD").strip()

    def git(self, *arguments: str) -> str:
        return self._git(*arguments)

    def _git(self, *arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(self.directory), *arguments], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
