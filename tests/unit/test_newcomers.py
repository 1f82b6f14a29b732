"""Tests of the files for new contributors: their programs can read them, and all that they name exists."""

import configparser
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from devstack.stack import GATEWAY_PORT

ROOT = Path(__file__).parents[2]
TARGETS = set(
    re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
)
CHECKOUT_ACTION = r"actions/checkout@[0-9a-f]{40}"
FORMS = sorted(path for path in (ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml") if path.name != "config.yml")
FORM_ELEMENTS = {
    "markdown": {"value"},
    "textarea": {"label", "description", "placeholder", "value", "render"},
    "input": {"label", "description", "placeholder", "value"},
    "dropdown": {"label", "description", "multiple", "options", "default"},
    "checkboxes": {"label", "description", "options"},
}
"""GitHub's kinds of form elements, each with its attributes."""


def read_yaml(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


def makes_known_targets(command: str) -> bool:
    """Return whether a command is `make` with existing targets, and possibly variables."""
    program, *words = shlex.split(command)
    targets = [word for word in words if "=" not in word]
    return program == "make" and bool(targets) and set(targets) <= TARGETS


def test_the_license_is_whole() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.split()[:5] == ["Apache", "License", "Version", "2.0,", "January"]
    assert "END OF TERMS AND CONDITIONS" in text
    assert len(text.splitlines()) == 202


# ---------------------------------------------------------------- GitHub


def workflow_steps() -> Iterator[dict[str, Any]]:
    for path in sorted((ROOT / ".github/workflows").glob("*.y*ml")):
        for job in read_yaml(str(path.relative_to(ROOT)))["jobs"].values():
            yield from job["steps"]


def test_the_workflow_runs_make_and_nothing_else() -> None:
    commands = [step["run"] for step in workflow_steps() if "run" in step]
    assert {"make check", "make demo", "make test"} <= set(commands)
    assert [command for command in commands if not makes_known_targets(command)] == []


def test_the_workflow_has_one_foreign_part_which_is_pinned_and_keeps_no_token() -> None:
    foreign = [step for step in workflow_steps() if "uses" in step]
    assert len({step["uses"] for step in foreign}) == 1
    assert re.fullmatch(CHECKOUT_ACTION, foreign[0]["uses"])
    assert all(step["with"] == {"persist-credentials": False} for step in foreign)
    assert read_yaml(".github/workflows/check.yml")["permissions"] == {"contents": "read"}


def test_there_is_a_form_for_bugs_and_one_for_features() -> None:
    assert [path.name for path in FORMS] == ["bug.yml", "feature.yml"]
    assert read_yaml(".github/ISSUE_TEMPLATE/config.yml") == {"blank_issues_enabled": False}


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.name)
def test_a_form_is_one_that_github_reads(path: Path) -> None:
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert form.keys() == {"name", "description", "labels", "body"}
    asked = [element for element in form["body"] if element["type"] != "markdown"]
    ids = [element["id"] for element in asked]
    labels = [element["attributes"]["label"] for element in asked]
    assert (len(set(ids)), len(set(labels))) == (len(asked), len(asked))
    assert [one for one in ids if not re.fullmatch(r"[\w-]+", one)] == []
    for element in form["body"]:
        assert element.keys() <= {"type", "id", "attributes", "validations"}
        assert element["attributes"].keys() <= FORM_ELEMENTS[element["type"]]
        assert element.get("validations", {}).keys() <= {"required"}
        if element["type"] in {"dropdown", "checkboxes"}:
            assert element["attributes"]["options"]


# ---------------------------------------------------------------- the checkout


def hooks() -> list[dict[str, Any]]:
    return [
        hook for repository in read_yaml(".pre-commit-config.yaml")["repos"] for hook in repository["hooks"]
    ]


def test_every_hook_is_local() -> None:
    assert {repository["repo"] for repository in read_yaml(".pre-commit-config.yaml")["repos"]} == {"local"}
    assert {hook["language"] for hook in hooks()} == {"system"}


@pytest.mark.parametrize("hook", hooks(), ids=lambda hook: str(hook["id"]))
def test_the_command_of_a_hook_exists(hook: dict[str, Any]) -> None:
    program, *words = shlex.split(hook["entry"])
    assert Path(program).parent == Path(".venv/bin")
    assert Path(sys.executable).with_name(Path(program).name).exists()
    assert [word for word in words if "/" in word and not (ROOT / word).exists()] == []


def test_the_hooks_are_the_parts_of_make_check() -> None:
    make = ["make", "--dry-run", "--old-file=.venv/.complete", "check"]
    recipe = subprocess.run(make, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    commands = [line.replace(".venv/bin/python -m ", ".venv/bin/").split() for line in recipe.splitlines()]
    assert [command[0] for command in commands] == [hook["entry"].split()[0] for hook in hooks()]
    assert commands[-1] == hooks()[-1]["entry"].split()


def test_the_development_container_opens_where_make_works() -> None:
    container = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text(encoding="utf-8"))
    dockerfile = (ROOT / ".devcontainer" / container["build"]["dockerfile"]).read_text(encoding="utf-8")
    assert f" {container['remoteUser']} " in dockerfile
    assert makes_known_targets(container["postCreateCommand"])
    assert container["forwardPorts"] == [GATEWAY_PORT]


# ---------------------------------------------------------------- .editorconfig


def editor_sections() -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser()
    parser.read_string("[preamble]\n" + (ROOT / ".editorconfig").read_text(encoding="utf-8"))
    return {name: dict(parser[name]) for name in parser.sections()}


def written_files() -> list[Path]:
    """Return the text files of the project that people write."""
    folders = (
        "bench",
        "cli",
        "deploy",
        "devstack",
        "docs",
        "requirements",
        "scripts",
        "services",
        "shared",
        "tests",
    )
    hidden = (".devcontainer", ".github")
    below = [path for folder in (*folders, *hidden) for path in (ROOT / folder).rglob("*")]
    files = [path for path in [*ROOT.iterdir(), *below] if path.is_file()]
    left_out = {"node_modules", "__pycache__"}
    return [
        path for path in files if not left_out & set(path.parts) and b"\0" not in path.read_bytes()[:8000]
    ]


def test_the_editor_is_told_what_every_file_follows() -> None:
    everywhere = editor_sections()["*"]
    wanted = {
        "charset": "utf-8",
        "end_of_line": "lf",
        "insert_final_newline": "true",
        "trim_trailing_whitespace": "true",
    }
    assert everywhere == {**wanted, "indent_style": "space", "indent_size": "2"}
    broken = []
    for path in written_files():
        text = path.read_bytes().decode("utf-8")
        ends = not text or text.endswith("\n")
        if "\r" in text or not ends or re.search(r"[ \t]$", text, flags=re.MULTILINE):
            broken.append(str(path.relative_to(ROOT)))
    assert broken == []


def test_every_section_for_the_editor_is_about_a_file() -> None:
    names = {path.name for path in written_files()}
    sections = editor_sections().keys() - {"preamble", "*"}
    assert [name for name in sections if not any(fnmatch(file, name) for file in names)] == []
