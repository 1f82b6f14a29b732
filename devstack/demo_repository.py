"""The demo's repository: a small program with tests on disk. Jobs clone it through file://."""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from devstack.settings import inherited_environment

FILES = {
    "greeting.py": '''\
"""Greetings that depend on the hour."""


def greeting(name: str, hour: int) -> str:
    if not 0 <= hour < 24:
        raise ValueError(f"a day has no hour {hour}")
    part = "morning" if 5 <= hour < 12 else "day" if 12 <= hour < 18 else "evening"
    return f"Good {part}, {name.strip() or 'stranger'}!"
''',
    "test_greeting.py": """\
import unittest

from greeting import greeting


class Greeting(unittest.TestCase):
    def test_the_hour_decides(self) -> None:
        hours = {0: "evening", 5: "morning", 11: "morning", 12: "day", 18: "evening", 23: "evening"}
        for hour, expected in hours.items():
            with self.subTest(hour=hour):
                self.assertEqual(greeting("Ada", hour), f"Good {expected}, Ada!")

    def test_nobody_is_a_stranger(self) -> None:
        self.assertEqual(greeting("  ", 9), "Good morning, stranger!")

    def test_hours_outside_the_day_are_refused(self) -> None:
        with self.assertRaises(ValueError):
            greeting("Ada", 24)


if __name__ == "__main__":
    unittest.main()
""",
}

PIPELINE = """\
version: 1
name: greeting
repository: {repository}
on:
  push:
    branches: [main]
defaults: {{ timeout: 5m }}
jobs:
  lint:
    steps:
      - name: what is built
        run: git log -1 --format='%h %s'
      - name: every file compiles
        run: python3 -m compileall greeting.py test_greeting.py
  test:
    needs: [lint]
    steps:
      - name: unit tests
        run: python3 -m unittest --verbose
"""


@dataclass(frozen=True)
class Push:
    """One commit that was pushed to main."""

    before: str
    after: str
    message: str
    committed_at: str


class DemoRepository:
    """A work tree on `main`. It is created at first use."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def clone_url(self) -> str:
        return f"file://{self.directory}"

    def push(self) -> Push:
        """Commit a change and return it as a push.

        All files are written each time, so every push can succeed.
        """
        if not (self.directory / ".git").exists():
            self.directory.mkdir(parents=True, exist_ok=True)
            self._git("init", "--quiet", "--initial-branch=main")
            self._git("commit", "--quiet", "--allow-empty", "--message=Begin")
        before = self._git("rev-parse", "HEAD")
        for name, text in FILES.items():
            (self.directory / name).write_text(text)
        (self.directory / "VERSION").write_text(f"{time.time_ns()}\n")
        message = f"Version {self._git('rev-list', '--count', 'HEAD')}"
        self._git("add", "--all")
        self._git("commit", "--quiet", f"--message={message}")
        return Push(before, self._git("rev-parse", "HEAD"), message, self._git("log", "-1", "--format=%cI"))

    def _git(self, *arguments: str) -> str:
        """Run git with a fixed author, and without the configuration of the user or the system."""
        settings: dict[str, str | Path | int] = {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_SYSTEM": os.devnull,
            **{
                f"GIT_{role}_{what}": value
                for role in ("AUTHOR", "COMMITTER")
                for what, value in (("NAME", "Mona"), ("EMAIL", "mona@example.org"))
            },
        }
        environment = inherited_environment(self.directory, settings)
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()


def push_payload(push: Push, repository: str, forge_id: int) -> dict[str, object]:
    """Return the body of GitHub's `push` webhook for this push, with the fields that GitHub sends.

    Source: docs.github.com, webhook events and payloads.
    """
    owner, _, name = repository.partition("/")
    url = f"https://github.com/{repository}"
    commit = _commit(push, url)
    return {
        "ref": "refs/heads/main",
        "before": push.before,
        "after": push.after,
        "created": False,
        "deleted": False,
        "forced": False,
        "base_ref": None,
        "compare": f"{url}/compare/{push.before[:12]}...{push.after[:12]}",
        "commits": [commit],
        "head_commit": commit,
        "repository": {
            "id": forge_id,
            "node_id": "R_demo",
            "name": name,
            "full_name": repository,
            "private": False,
            "owner": {"name": owner, "login": owner, "id": 583231, "type": "Organization"},
            "html_url": url,
            "clone_url": f"{url}.git",
            "default_branch": "main",
            "pushed_at": int(time.time()),
        },
        "pusher": {"name": "mona", "email": "mona@example.org"},
        "sender": {"login": "mona", "id": 11111, "type": "User"},
    }


def _commit(push: Push, url: str) -> dict[str, object]:
    person = {"name": "Mona", "email": "mona@example.org", "username": "mona"}
    return {
        "id": push.after,
        "tree_id": push.after,
        "distinct": True,
        "message": push.message,
        "timestamp": push.committed_at,
        "url": f"{url}/commit/{push.after}",
        "author": person,
        "committer": person,
        "added": [],
        "removed": [],
        "modified": [*FILES, "VERSION"],
    }
