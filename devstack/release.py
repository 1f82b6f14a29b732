"""`make wheel` and `make release`: the wheel of the `towpath` command, and a release of this checkout.

A release needs a clean commit and a version without a tag. It builds the wheel in `dist/`, then the container
image, and then sets the tag `v<version>`. The tag is last, so a failed release can be repeated. Nothing is
pushed.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from devstack.errors import DevstackError
from devstack.images import build_images, tags_of
from devstack.settings import DevstackSettings
from devstack.stack import CHECKOUT
from shared import VERSION

Say = Callable[[str], None]
BuildImage = Callable[[DevstackSettings, Say], None]

TAG = f"v{VERSION}"
PURE_CODE = (
    "__init__.py",
    "events.py",
    "explanation.py",
    "expressions",
    "forges",
    "forms.py",
    "matching.py",
    "path_filters.py",
    "pipeline",
    "quoting.py",
    "readiness.py",
    "states.py",
    "statuses.py",
)
"""The files and folders of `shared` that `towpath explain` uses."""
_IMPORT = re.compile(r"^(\s*from )shared\b", re.MULTILINE)
_NOT_PACKED = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")


def build_wheel(directory: Path, say: Say, checkout: Path = CHECKOUT) -> Path:
    """Build `towpath_cli-<version>-py3-none-any.whl` into the directory, with the LICENSE. Safe to repeat.

    The build uses the locked setuptools of `.venv` and no network.
    Raises DevstackError if the build fails or if the command has another version than `shared`.
    """
    with tempfile.TemporaryDirectory(prefix="towpath-wheel-") as scratch:
        source = Path(scratch) / "source"  # a copy, because setuptools writes into the source folder
        shutil.copytree(checkout / "cli", source, ignore=_NOT_PACKED)
        shutil.copy(checkout / "LICENSE", source)
        _copy_pure_code(checkout / "shared", source)
        pip = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index"]
        _output([*pip, "--quiet", "--wheel-dir", scratch, str(source)], checkout)
        [wheel] = Path(scratch).glob("*.whl")
        if wheel.name.split("-")[1] != VERSION:
            raise DevstackError(f"{wheel.name} is not {VERSION}: run .venv/bin/python -m docs.generate")
        directory.mkdir(parents=True, exist_ok=True)
        shutil.copy(wheel, directory)
    say(f"built {directory / wheel.name}")
    return directory / wheel.name


def _copy_pure_code(shared: Path, source: Path) -> None:
    """Copy PURE_CODE into the source of the wheel, and let its modules be imported from there."""
    for name in PURE_CODE:
        target = source / "shared" / name
        target.parent.mkdir(exist_ok=True)
        if (shared / name).is_dir():
            shutil.copytree(shared / name, target, ignore=_NOT_PACKED)
        else:
            shutil.copy(shared / name, target)
    for path in source.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        path.write_text(_IMPORT.sub(r"\1towpath_cli.shared", text), encoding="utf-8")


def release(
    settings: DevstackSettings, say: Say, checkout: Path = CHECKOUT, build_image: BuildImage = build_images
) -> None:
    """Build the wheel and the image of `shared.VERSION`, and set the tag.

    With `settings.dry_run`, only check, and build the wheel in a temporary folder. Raises DevstackError with
    all obstacles before anything is built.
    """
    found = obstacles(checkout)
    if found:
        listed = "".join(f"\n  - {obstacle}" for obstacle in found)
        raise DevstackError(f"{VERSION} can't be released from this checkout:{listed}")
    commit = _git(checkout, "rev-parse", "--short=12", "HEAD")
    if settings.dry_run:
        with tempfile.TemporaryDirectory(prefix="towpath-release-") as scratch:
            wheel = build_wheel(Path(scratch), lambda _: None, checkout)
        image = " and ".join(tags_of(settings.image))
        say(f"dry run: commit {commit} would give dist/{wheel.name}, the image {image}, and the tag {TAG}")
        return
    build_wheel(checkout / "dist", say, checkout)
    build_image(settings, say)
    _git(checkout, "tag", "--annotate", TAG, "--message", f"Towpath {VERSION}")
    say(f"tagged commit {commit} as {TAG}; nothing is pushed: git push origin {TAG}")


def obstacles(checkout: Path) -> list[str]:
    """Return the reasons why `shared.VERSION` cannot be released from this checkout, or an empty list."""
    found = changelog_obstacles((checkout / "CHANGELOG.md").read_text(encoding="utf-8"), VERSION)
    changed = _git(checkout, "status", "--porcelain").splitlines()
    if changed:
        names = ", ".join(line.split()[-1] for line in changed[:5])
        found.append(f"{len(changed)} files are not committed: {names}")
    if _git(checkout, "tag", "--list", TAG):
        found.append(f"the tag {TAG} exists: shared.VERSION has to be the next one")
    return found


def changelog_obstacles(text: str, version: str) -> list[str]:
    """Return the reasons why this CHANGELOG does not fit the version, or an empty list.

    The version must be the newest entry, and nothing may be unreleased.
    """
    parts = re.findall(r"^## (\S+)(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    entries = {title: re.findall(r"^- ", part, flags=re.MULTILINE) for title, part in parts}
    newest = next((title for title in entries if title != "Unreleased"), "nothing")
    unreleased = entries.get("Unreleased", [])
    found = []
    if newest != version:
        found.append(f"shared.VERSION is {version}, but the newest version of CHANGELOG.md is {newest}")
    elif not entries[version]:
        found.append(f"CHANGELOG.md says nothing of {version}")
    if unreleased:
        found.append(
            f"CHANGELOG.md has {len(unreleased)} entries under Unreleased: move them below the version"
        )
    return found


def _git(checkout: Path, *arguments: str) -> str:
    return _output(["git", *arguments], checkout)


def _output(argv: list[str], directory: Path) -> str:
    """Return what the program prints. Raises DevstackError with its error output if it fails."""
    done = subprocess.run(
        argv, cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise DevstackError(f"`{' '.join(argv[:4])}` failed:\n{(done.stderr or done.stdout).strip()}")
    return done.stdout.strip()
