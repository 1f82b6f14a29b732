"""Tests of `make release`: its results, their order, and its refusals."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.errors import DevstackError
from devstack.release import TAG, changelog_obstacles, obstacles, release
from devstack.settings import DevstackSettings
from shared import VERSION

ROOT = Path(__file__).parents[3]
CHANGELOG = (
    f"# Changes\n\n## Unreleased\n\n## {VERSION} - 2026-11-27\n\n- A boat.\n\n## 0.0.1\n\n- A plank.\n"
)
WHEEL = f"towpath_cli-{VERSION}-py3-none-any.whl"
NOT_COPIED = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")


def git(directory: Path, *arguments: str) -> str:
    argv = ["git", *arguments]
    return subprocess.run(argv, cwd=directory, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Create a repository with everything committed, which contains the sources of a wheel."""
    shutil.copytree(ROOT / "cli", tmp_path / "cli", ignore=NOT_COPIED)
    shutil.copytree(ROOT / "shared", tmp_path / "shared", ignore=NOT_COPIED)
    shutil.copy(ROOT / "LICENSE", tmp_path)
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    (tmp_path / ".gitignore").write_text("/dist/\n__pycache__/\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "config", "user.name", "ada")
    git(tmp_path, "config", "user.email", "ada@example.org")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "Carry boats")
    return tmp_path


def no_image(*_: object) -> None:
    raise DevstackError("no image today")


@pytest.mark.slow
def test_a_release_is_a_wheel_then_an_image_then_a_tag(checkout: Path) -> None:
    with pytest.raises(DevstackError, match="no image today"):
        release(DevstackSettings(), print, checkout, no_image)
    assert [path.name for path in (checkout / "dist").iterdir()] == [WHEEL]
    assert git(checkout, "tag") == ""

    release(DevstackSettings(), print, checkout, lambda *_: None)
    assert git(checkout, "rev-list", "-1", TAG) == git(checkout, "rev-parse", "HEAD")
    assert git(checkout, "cat-file", "-t", TAG) == "tag"

    with pytest.raises(DevstackError, match=f"the tag {TAG} exists"):
        release(DevstackSettings(), print, checkout, lambda *_: None)


@pytest.mark.slow
def test_a_command_of_another_version_is_not_released(checkout: Path) -> None:
    (checkout / "cli/version.py").write_text('VERSION = "0.0.1"\n')
    git(checkout, "commit", "--all", "--quiet", "--message", "Forget to generate")
    with pytest.raises(DevstackError, match=r"towpath_cli-0\.0\.1\S+ is not .*docs\.generate"):
        release(DevstackSettings(), print, checkout, no_image)


@pytest.mark.slow
def test_a_dry_run_changes_nothing(checkout: Path) -> None:
    shutil.copytree(ROOT / "devstack", checkout / "devstack", ignore=NOT_COPIED)
    git(checkout, "add", ".")
    git(checkout, "commit", "--quiet", "--message", "Release boats")
    before = sorted(checkout.rglob("*"))
    settings = ["env", "TOWPATH_DRY_RUN=true", "PYTHONDONTWRITEBYTECODE=1"]
    command = [*settings, sys.executable, "-m", "devstack", "release"]
    done = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [
        part for part in (f"dist/{WHEEL}", f"towpath:{VERSION}", f"the tag {TAG}") if part not in done.stdout
    ] == []
    assert (sorted(checkout.rglob("*")), git(checkout, "tag")) == (before, "")


@pytest.mark.parametrize(("argument", "dry"), [("DRY_RUN=1", True), ("DRY_RUN=", False)])
def test_make_passes_the_dry_run_on(argument: str, dry: bool) -> None:
    make = ["make", "--dry-run", "--old-file=.venv/.complete", "release", argument]
    recipe = subprocess.run(make, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = re.findall(
        r"^(TOWPATH_DRY_RUN=true )?\S+python -m devstack release$", recipe.strip(), re.MULTILINE
    )
    assert found == ["TOWPATH_DRY_RUN=true " if dry else ""]


def test_what_is_deployed_is_this_version() -> None:
    found = {}
    for path in [*ROOT.glob("docker-compose*.yml"), *(ROOT / "deploy").rglob("*.yaml")]:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            for version in re.findall(r"\b(?:towpath:|newTag: |VERSION: )(\d+\.\d+\.\d+)", line):
                found[f"{path.relative_to(ROOT)}:{number}"] = version
    assert len(found) >= 5
    assert {place: version for place, version in found.items() if version != VERSION} == {}


def test_what_is_not_committed_is_named(checkout: Path) -> None:
    assert obstacles(checkout) == []
    (checkout / "cli/app.py").write_text("changed\n")
    (checkout / "new.txt").touch()
    assert obstacles(checkout) == ["2 files are not committed: cli/app.py, new.txt"]


def test_every_obstacle_is_said_at_once(checkout: Path) -> None:
    (checkout / "CHANGELOG.md").write_text("## 0.0.1\n\n- A plank.\n")
    git(checkout, "tag", TAG)
    with pytest.raises(DevstackError, match=rf"(?s)newest version.*not committed.*{TAG} exists"):
        release(DevstackSettings(), print, checkout, no_image)


def test_a_folder_that_is_no_repository_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG)
    with pytest.raises(DevstackError, match=r"(?s)git status.*not a git repository"):
        obstacles(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("## Unreleased\n\n## 1.2.0\n\n- A boat.\n", []),
        ("## 1.2.0 - 2026-11-27\n\n### Added\n\n- A boat.\n", []),
        (
            "## Unreleased\n\n- Two boats.\n",
            ["the newest version of CHANGELOG.md is nothing", "1 entries under Unreleased"],
        ),
        (
            "## 1.1.0\n\n- A boat.\n",
            ["shared.VERSION is 1.2.0, but the newest version of CHANGELOG.md is 1.1.0"],
        ),
        ("## 1.3.0\n\n- A boat.\n\n## 1.2.0\n\n- A boat.\n", ["the newest version of CHANGELOG.md is 1.3.0"]),
        ("## 1.2.0\n\n## 1.1.0\n\n- A boat.\n", ["says nothing of 1.2.0"]),
        ("## Unreleased\n\n- Oars.\n\n- Sails.\n\n## 1.2.0\n\n- A boat.\n", ["2 entries under Unreleased"]),
    ],
)
def test_the_changelog_has_to_be_that_of_the_version(text: str, said: list[str]) -> None:
    found = changelog_obstacles(text, "1.2.0")
    assert len(found) == len(said)
    assert [part for part, obstacle in zip(said, found, strict=True) if part not in obstacle] == []
