"""Tests of the files from which an installation starts: locked requirements and the Makefile."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TARGETS = [
    "demo",
    "up",
    "down",
    "test",
    "lint",
    "types",
    "check",
    "chaos",
    "chaos-mutants",
    "bench",
    "e2e",
    "fmt",
    "migrate",
    "images",
    "deploy",
]


def locked(name: str) -> dict[str, str]:
    """Return the locked packages, each with its whole entry."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    entries = re.split(r"^(?=[A-Za-z0-9])", text, flags=re.MULTILINE)
    return {re.split(r"[=\[ ;]", entry)[0].lower(): entry for entry in entries if entry.strip()}


def wanted(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~\[ ;]", requirement)[0].lower() for requirement in requirements}


@pytest.mark.parametrize("name", ["runtime", "dev"])
def test_every_locked_package_has_a_version_and_hashes_and_no_address(name: str) -> None:
    packages = locked(name)
    assert len(packages) > 20
    assert [
        package
        for package, entry in packages.items()
        if not re.match(r"\S+==\S+", entry) or "--hash=sha256:" not in entry
    ] == []
    assert not re.search(
        r"://|^-|file:|\s@\s", (ROOT / "requirements" / f"{name}.txt").read_text(), flags=re.MULTILINE
    )


def test_what_the_project_asks_for_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    runtime = wanted(project["project"]["dependencies"])
    assert runtime <= locked("runtime").keys()
    assert runtime | wanted(project["dependency-groups"]["dev"]) <= locked("dev").keys()


def test_make_help_lists_every_target() -> None:
    text = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = re.findall(r"^  make (\S+) +\S", text, flags=re.MULTILINE)
    assert set(TARGETS) <= set(listed)
