"""Tests that the documents agree with the code.

Generated parts are up to date, everything that is named exists, and everything that exists is named.
"""

import re
import shlex
import typing
from pathlib import Path

import pytest
import typer.main

from cli.app import build
from docs.generate import documents
from shared.messaging.messages import Message
from tests.unit.test_house_rules import writers_by_table

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / ".github").rglob("*.md")])
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", sorted(documents()), ids=lambda page: page.name)
def test_what_is_made_from_the_code_is_up_to_date(page: Path) -> None:
    assert page.read_text(encoding="utf-8") == documents()[page], "run: .venv/bin/python -m docs.generate"


def test_every_package_is_in_the_table_of_packages_and_has_a_summary() -> None:
    found = {
        path.parent.relative_to(ROOT).as_posix()
        for name in ("services", "shared", "cli", "devstack", "docs")
        for path in (ROOT / name).rglob("__init__.py")
    }
    assert {package for package, _, _ in packages()} == found
    assert [package for package, summary, _ in packages() if not summary] == []


def test_the_tables_of_each_package_are_those_it_writes() -> None:
    owners = {
        table: package.removeprefix("services/") for package, _, tables in packages() for table in tables
    }
    wanted = {
        table: {"migrate": "shared", "each": "shared"}.get(writer, writer)
        for table, writer in writers_by_table().items()
    }
    assert owners == {**wanted, "schema_migrations": "shared"}


def packages() -> list[tuple[str, str, list[str]]]:
    """Return the package, its summary, and the tables that it writes, for each row."""
    section = ARCHITECTURE.split("\n## Packages\n")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.removeprefix("|").removesuffix("|").split("|")]
        for line in section.splitlines()
        if line.startswith("| `")
    ]
    return [(row[0].strip("`"), row[1], re.findall(r"`(\w+)`", row[2])) for row in rows]


def test_every_message_is_in_the_table_of_messages() -> None:
    page = (ROOT / "docs/messages.md").read_text(encoding="utf-8")
    assert {kind.model_fields["type"].default for kind in typing.get_args(Message)} == set(
        re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", page, re.MULTILINE)
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_file_that_is_named_exists(page: Path) -> None:
    named = re.findall(
        r"`((?:services|shared|cli|devstack|tests|docs|requirements)/[\w./-]*\w)/?`",
        page.read_text(encoding="utf-8"),
    )
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(
        re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    named = re.findall(r"(?:^|`)make ([a-z0-9-]+)", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert set(named) <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_test_that_is_named_exists(page: Path) -> None:
    named = [
        word
        for words in re.findall(r'ARGS="([^"]*)"', page.read_text(encoding="utf-8"))
        for word in words.split()
    ]
    assert [word for word in named if word.startswith("tests") and not (ROOT / word).exists()] == []


def test_every_command_that_is_named_exists() -> None:
    group = typer.main.get_command(build())
    for page in PAGES:
        for line in re.findall(
            r"(?:^|`)towpath ([a-z][^`\n]*)", page.read_text(encoding="utf-8"), flags=re.MULTILINE
        ):
            command = group
            for word in shlex.split(line.split("#")[0].split("[")[0], posix=False)[:2]:
                if hasattr(command, "commands"):
                    assert word in command.commands, f"{page.name}: towpath {line}"
                    command = command.commands[word]


def test_every_command_is_documented() -> None:
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    group = typer.main.get_command(build())
    for name, subgroup in vars(group)["commands"].items():
        row = " ".join(line for line in page.splitlines() if line.startswith(f"| `towpath {name}"))
        missing = [
            command for command in getattr(subgroup, "commands", {}) if not re.search(rf"\b{command}\b", row)
        ]
        assert (row != "", missing) == (True, []), name
