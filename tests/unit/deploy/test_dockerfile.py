"""The image: linted, without an address of any network, and run by nobody in particular."""

import re
import subprocess
import sys
from pathlib import Path

from tests.unit.deploy.rendered import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "--no-color", "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_stage_stands_on_the_same_base() -> None:
    assert set(re.findall(r"^FROM (\S+)", DOCKERFILE, flags=re.MULTILINE)) == {"debian:bookworm-slim"}


def test_no_address_of_a_registry_or_a_proxy_stands_in_it() -> None:
    assert "://" not in DOCKERFILE
    assert not re.search(r"index-url|registry=|proxy", DOCKERFILE, flags=re.IGNORECASE)


def test_packages_are_installed_by_their_hashes() -> None:
    assert "--require-hashes" in DOCKERFILE
    assert "npm ci --ignore-scripts" in DOCKERFILE


def test_it_does_not_run_as_root() -> None:
    assert re.findall(r"^USER (\S+)", DOCKERFILE, flags=re.MULTILINE) == ["10001:10001"]


def test_the_context_is_what_the_image_is_made_of_and_no_more() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    copied = {source for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, flags=re.MULTILINE) for source in sources.split()}
    assert rules[0] == "*"
    allowed = [rule[1:] for rule in rules if rule.startswith("!")]
    assert all(any(source == path or source.startswith(f"{path}/") for path in allowed) for source in copied)
    assert set(allowed) == {"requirements/runtime.txt", "shared", "services", "cli"}
