"""The crash points of the services, read from the source, so that the list is always complete."""

import ast
import functools
import os
from dataclasses import dataclass
from pathlib import Path

from devstack.stack import CHECKOUT, SERVICES


@dataclass(frozen=True, slots=True)
class Point:
    """A place where a service may die."""

    service: str
    name: str

    def __str__(self) -> str:
        return f"{self.service}: {self.name}"


def names_in(module: Path) -> list[str]:
    """Return the crash points of a module. Raises ValueError if the name of one is no literal."""
    names = []
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "crashpoint":
            if not (
                node.args and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)
            ):
                raise ValueError(f"{module}:{node.lineno}: the name of a crash point is a literal")
            names.append(node.args[0].value)
    return names


@functools.cache
def every_name(root: Path = CHECKOUT) -> tuple[tuple[str, str], ...]:
    """Return (first part of the path: `shared` or a service, name) of each `crashpoint` call, in order."""
    found = [("shared", name) for path in sorted((root / "shared").rglob("*.py")) for name in names_in(path)]
    for service in SERVICES:
        found += [
            (service, name)
            for path in sorted((root / "services" / service).rglob("*.py"))
            for name in names_in(path)
        ]
    return tuple(found)


def points_of(service: str, root: Path = CHECKOUT) -> list[Point]:
    """Return the crash points that this service can pass: its own and those of shared code.

    Crash points of the cluster backend that the tests do not use are left out.
    """
    elsewhere = "local." if os.environ.get("TOWPATH_TEST_BACKEND") == "kubernetes" else "kubernetes."
    return [
        Point(service, name)
        for place, name in every_name(root)
        if place in {"shared", service} and not name.startswith(elsewhere)
    ]
