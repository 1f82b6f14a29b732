"""The packages in the lock files, for `make audit` and for the bill of materials."""

import re
from dataclasses import dataclass
from pathlib import Path

from devstack.errors import DevstackError

_PIN = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*)(?:\[[\w,.\s-]*\])?==(?P<version>[^\s;\\]+)(?:\s*;.*)?")


@dataclass(frozen=True, order=True)
class Package:
    name: str
    """Normalised: lower case, with hyphens."""
    version: str


def lock_files(checkout: Path) -> list[Path]:
    return sorted((checkout / "requirements").glob("*.txt"))


def locked(text: str, file: str) -> list[Package]:
    """Return the packages of a lock file in its order, including those for other systems and Pythons.

    Raises DevstackError for a requirement without an exact version, because its installation is not
    reproducible.
    """
    packages = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith((" ", "\t", "#")):
            continue
        pin = _PIN.fullmatch(line.rstrip("\\ "))
        if pin is None:
            raise DevstackError(f"{file}:{number} names no exact version: {line.strip()}")
        packages.append(Package(re.sub(r"[-_.]+", "-", pin["name"]).lower(), pin["version"]))
    return packages
