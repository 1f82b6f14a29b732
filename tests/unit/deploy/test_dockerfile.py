"""Tests of the images, for production and for development.

The files pass the linter, contain no network address, and do not run as root.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from devstack.install import PROGRAMS
from tests.unit.deploy.rendered import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()
DEVELOPMENT = (ROOT / ".devcontainer" / "Dockerfile").read_text()

each_dockerfile = pytest.mark.parametrize("path", ["Dockerfile", ".devcontainer/Dockerfile"])


@each_dockerfile
def test_hadolint_has_nothing_to_say(path: str) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [hadolint, "--no-color", path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


@each_dockerfile
def test_every_stage_stands_on_the_same_base(path: str) -> None:
    text = (ROOT / path).read_text()
    stages = set(re.findall(r"^FROM \S+ AS (\S+)", text, flags=re.MULTILINE))
    assert set(re.findall(r"^FROM (\S+)", text, flags=re.MULTILINE)) - stages == {"debian:bookworm-slim"}


@each_dockerfile
def test_no_address_of_a_registry_or_a_proxy_stands_in_it(path: str) -> None:
    assert "://" not in (ROOT / path).read_text()
    assert not re.search(r"index-url|registry=|proxy", (ROOT / path).read_text(), flags=re.IGNORECASE)


def test_packages_are_installed_by_their_hashes() -> None:
    assert "PIP_REQUIRE_HASHES=1" in DOCKERFILE
    assert re.search(r"npm .*ci --ignore-scripts", DOCKERFILE)


def test_it_does_not_run_as_root() -> None:
    assert re.findall(r"^USER (\S+)", DOCKERFILE, flags=re.MULTILINE) == ["10001:10001"]


def test_the_context_is_what_the_image_is_made_of_and_no_more() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    copied = {
        source
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, flags=re.MULTILINE)
        for source in sources.split()
    }
    assert rules[0] == "*"
    allowed = [rule[1:] for rule in rules if rule.startswith("!")]
    assert all(any(source == path or source.startswith(f"{path}/") for path in allowed) for source in copied)
    assert set(allowed) == {"requirements/image.txt", "requirements/runtime.txt", "shared", "services", "cli"}


def test_the_development_image_has_every_program_that_make_installs() -> None:
    [packages] = re.findall(r"--no-install-recommends \\\n((?: {6}.*\n)+)", DEVELOPMENT)
    assert {program.package for program in PROGRAMS} <= set(packages.split())
    assert {"python3", "python3-venv", "make"} <= set(packages.split())


def test_the_development_image_does_not_run_as_root() -> None:
    assert re.findall(r"^USER (\S+)", DEVELOPMENT, flags=re.MULTILINE) == ["1000:1000"]
