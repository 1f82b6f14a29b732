"""`make audit`: known vulnerabilities of the locked packages, and a bill of materials of the image.

The exit code is 0 if all packages were audited and none has a known vulnerability, 1 if one has, and 2 if
some or all could not be audited.
"""

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from devstack.advisories import Findings, Index, NoAnswer, ask_index, ask_pip_audit
from devstack.errors import DevstackError
from devstack.images import builder_here, qualified, tags_of
from devstack.locked import Package, lock_files, locked
from devstack.sbom import QUERY, DebianPackage, bill_of_materials, debian_packages
from devstack.settings import DevstackSettings
from devstack.stack import CHECKOUT
from shared import VERSION

Say = Callable[[str], None]
CLEAN, VULNERABLE, NOT_AUDITED = 0, 1, 2
_SHIPPED = "runtime.txt"


def audit(settings: DevstackSettings, say: Say) -> int:
    """Write the bill of materials, audit the packages, and return the exit code. Raises DevstackError."""
    files = lock_files(CHECKOUT)
    packages = {file.name: locked(file.read_text(encoding="utf-8"), file.name) for file in files}
    every = sorted({package for listed in packages.values() for package in listed})
    write_bill(packages[_SHIPPED], _image_packages(tags_of(settings.image)[0], say), CHECKOUT / "dist", say)
    say(f"{len(every)} locked packages in {' and '.join(file.name for file in files)}")
    index = _index(settings)
    sources: list[Callable[[], Findings]] = [
        lambda: ask_index(index, every),
        lambda: ask_pip_audit(files, every),
    ]
    refusals = []
    for ask in sources:
        try:
            return report(ask(), every, say)
        except NoAnswer as refusal:
            refusals.append(str(refusal))
    say(f"could not be audited: {'; '.join(refusals)}")
    return NOT_AUDITED


def report(findings: Findings, packages: Sequence[Package], say: Say) -> int:
    """Print what a source knows, and return the exit code."""
    for package, advisories in findings.found.items():
        for advisory in advisories:
            fix = f"fixed in {', '.join(advisory.fixed_in)}" if advisory.fixed_in else "not fixed yet"
            ids = ", ".join(advisory.ids)
            say(f"{package.name} {package.version}: {ids} ({fix}) {advisory.summary}".rstrip())
    if findings.unknown:
        names = ", ".join(f"{package.name} {package.version}" for package in findings.unknown)
        say(f"could not be audited: {findings.source} says nothing of {names}")
    audited = len(packages) - len(findings.unknown)
    vulnerable = (
        f"{len(findings.found)} with known vulnerabilities" if findings.found else "no known vulnerability"
    )
    say(f"{audited} of {len(packages)} packages audited with {findings.source}: {vulnerable}")
    if findings.found:
        return VULNERABLE
    return NOT_AUDITED if findings.unknown else CLEAN


def write_bill(
    packages: Sequence[Package], debian: Sequence[DebianPackage], directory: Path, say: Say
) -> Path:
    """Write `towpath-<version>.cdx.json` into the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"towpath-{VERSION}.cdx.json"
    file.write_text(bill_of_materials(packages, debian), encoding="utf-8")
    say(f"bill of materials: {file} ({len(packages)} Python packages, {len(debian)} Debian packages)")
    return file


def index_of(configuration: str, help_text: str) -> Index:
    """Return the JSON API at pip's index.

    `configuration` is the output of `pip config list`. A variable in it takes precedence over a file. Without
    an index in it, pip's default applies, which `pip help install` names. Raises DevstackError.
    """
    found = {}
    for line in sorted(configuration.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        found[name.rpartition(".")[2]] = value.strip("'\"")
    default = re.search(r"--index-url\b.*?default\s+(https?://[^\s)]+)", help_text, flags=re.DOTALL)
    url = found.get("index-url") or (default[1] if default else "")
    if not url:
        raise DevstackError("pip names no package index: set TOWPATH_ADVISORIES_URL")
    return Index(f"{url.rstrip('/').removesuffix('/simple')}/pypi", found.get("cert"))


def _index(settings: DevstackSettings) -> Index:
    pip = [sys.executable, "-m", "pip"]
    index = index_of(_output([*pip, "config", "list"]), _output([*pip, "help", "install"]))
    return (
        index
        if settings.advisories_url is None
        else Index(settings.advisories_url.rstrip("/"), index.certificates)
    )


def _image_packages(tag: str, say: Say) -> list[DebianPackage]:
    """Return the Debian packages of the image. If it is not available, print that and return none."""
    builder = builder_here()
    try:
        if builder == "docker":
            run = [
                "docker",
                "run",
                "--rm",
                "--pull",
                "never",
                "--network",
                "none",
                "--entrypoint",
                "sh",
                tag,
                "-c",
                QUERY,
            ]
            return debian_packages(_output(run))
        if builder == "buildah":
            return debian_packages(_output_of_buildah(qualified(tag)))
    except DevstackError as error:
        say(f"Debian packages are not listed: {tag} can't be read, `make images` builds it ({error})")
        return []
    say("Debian packages are not listed: neither Docker nor buildah is here")
    return []


def _output_of_buildah(image: str) -> str:
    container = _output(["buildah", "from", "--pull=never", image]).strip()
    try:
        return _output(["buildah", "run", "--isolation", "chroot", container, "--", "sh", "-c", QUERY])
    finally:
        _output(["buildah", "rm", container])


def _output(argv: Sequence[str]) -> str:
    done = subprocess.run(
        argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=CHECKOUT, check=False
    )
    if done.returncode != 0:
        raise DevstackError(
            done.stderr.strip().rpartition("\n")[2] or f"{argv[0]} ended with {done.returncode}"
        )
    return done.stdout
