"""Tests of the command's wheel: it has all the code that it needs, and conflicts with no package."""

import ast
import email
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from devstack.release import PURE_CODE, build_wheel
from shared import VERSION
from tests.harness.github import FakeRepository, push, to_bytes
from tests.unit.cli.fake_api import FakeApi, Told

ROOT = Path(__file__).parents[3]
CLI = ROOT / "cli"
PROJECT = tomllib.loads((CLI / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DEPENDENCIES = {Requirement(text).name for text in PROJECT["dependencies"]}
MODULES = {"google-re2": "re2", "pyyaml": "yaml"}
"""Distributions whose module has another name."""
FOREIGN = 'raise ImportError("this package belongs to somebody else")\n'


SHARED = ROOT / "shared"
PACKED = [
    path for name in PURE_CODE for path in ([SHARED / name] if "." in name else (SHARED / name).rglob("*.py"))
]
"""The modules of `shared` that the wheel holds."""


def imported_by_the_command() -> Iterator[str]:
    """Yield the top-level packages that the wheel's modules name in absolute imports."""
    for path in [*CLI.rglob("*.py"), *PACKED]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                yield (node.module or "").split(".")[0]


def test_the_command_imports_the_dependencies_of_its_wheel_and_nothing_else() -> None:
    modules = {MODULES.get(name, name) for name in DEPENDENCIES}
    assert set(imported_by_the_command()) - sys.stdlib_module_names == modules | {"shared"}


def test_only_one_module_of_the_command_imports_code_of_the_services() -> None:
    texts = {path.relative_to(CLI).as_posix(): path.read_text("utf-8") for path in CLI.rglob("*.py")}
    importing = [
        name for name, text in texts.items() if re.search(r"^\s*(from|import) shared\b", text, re.MULTILINE)
    ]
    assert importing == ["commands/explain.py"]


def test_the_wheel_wants_the_versions_that_the_project_wants() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(PROJECT["dependencies"]) <= set(project["dependencies"])
    assert PROJECT["requires-python"] == project["requires-python"]
    assert PROJECT["license"] == project["license"] == "Apache-2.0"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("wheel"), print)


@pytest.mark.slow
def test_the_wheel_holds_one_package_with_every_file_of_the_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    packed = {name.removeprefix("towpath_cli/") for name in names if name.startswith("towpath_cli/")}
    modules = {path.relative_to(CLI).as_posix() for path in CLI.rglob("*.py")}
    pure = {f"shared/{path.relative_to(SHARED).as_posix()}" for path in PACKED}
    assert packed == modules | pure | {"pipeline.schema.json"}
    information = f"towpath_cli-{VERSION}.dist-info"
    assert {name.split("/")[0] for name in names} == {"towpath_cli", information}
    assert f"{information}/licenses/LICENSE" in names


@pytest.mark.slow
def test_the_wheel_says_what_it_is_and_what_it_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        said = email.message_from_bytes(archive.read(f"towpath_cli-{VERSION}.dist-info/METADATA"))
    assert (said["Name"], said["Version"], said["License-Expression"]) == (
        "towpath-cli",
        VERSION,
        "Apache-2.0",
    )
    assert {Requirement(text).name for text in said.get_all("Requires-Dist", [])} == DEPENDENCIES


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create an environment with foreign packages `cli` and `shared`, the wheel, and its dependencies."""
    directory = tmp_path_factory.mktemp("environment")
    venv.create(directory, symlinks=True)
    for name in ("cli", "shared"):
        (site_packages(directory) / name).mkdir()
        (site_packages(directory) / name / "__init__.py").write_text(FOREIGN)
    for name in with_their_needs(DEPENDENCIES):
        copy_distribution(name, site_packages(directory))
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(directory),
        "install",
        "--quiet",
        "--no-index",
        "--no-deps",
    ]
    subprocess.run([*pip, str(wheel)], check=True)
    return directory


def site_packages(environment: Path) -> Path:
    [found] = environment.glob("lib/python3*/site-packages")
    return found


def with_their_needs(names: set[str]) -> set[str]:
    """Return these distributions and all their requirements on this Python."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            needs = map(Requirement, importlib.metadata.requires(name) or ())
            waiting += [
                need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})
            ]
    return found


def copy_distribution(name: str, target: Path) -> None:
    """Copy the modules and metadata of a distribution of this environment, without its programs."""
    for file in importlib.metadata.files(name) or ():
        if ".." not in file.parts and file.suffix != ".pyc":
            (target / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), target / file)


def run(
    environment: Path, directory: Path, *arguments: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the installed command in another folder, without this process's environment."""
    program: list[str | Path] = [environment / "bin" / "towpath", *arguments]
    return subprocess.run(program, cwd=directory, env=variables, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_installed_command_says_its_version(environment: Path, tmp_path: Path) -> None:
    done = run(environment, tmp_path, "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"towpath {VERSION}\n", "")


@pytest.mark.slow
def test_the_installed_command_needs_no_foreign_package_and_changes_none(
    environment: Path, tmp_path: Path
) -> None:
    done = run(environment, tmp_path, "validate", "--schema")
    assert done.stdout == (CLI / "pipeline.schema.json").read_text(encoding="utf-8")
    for name in ("cli", "shared"):
        assert [path.name for path in (site_packages(environment) / name).iterdir()] == ["__init__.py"]
        assert (site_packages(environment) / name / "__init__.py").read_text() == FOREIGN


@pytest.mark.slow
def test_the_installed_command_shows_tables_and_errors(
    environment: Path, api: FakeApi, tmp_path: Path
) -> None:
    access = {"TOWPATH_URL": api.url, "TOWPATH_TOKEN": "tp_0123456789012345678901234567890000001"}
    fault = {"path": "on", "code": "c", "message": "not like this", "hint": None, "line": 1, "column": 1}
    api.answer("POST", "/pipelines/validate", Told(body={"valid": False, "errors": [fault]}))
    user = {"id": 7, "name": "ada", "email": "ada@example.org", "is_admin": True, "disabled_at": None}
    api.answer("GET", "/users", Told(body={"items": [user], "next_cursor": None}))
    (tmp_path / "pipeline.yml").write_text("on: {}\n")

    done = run(environment, tmp_path, "validate", "pipeline.yml", **access)
    assert (done.returncode, done.stderr.splitlines()[0]) == (1, "pipeline.yml:1:1  on: not like this")
    done = run(environment, tmp_path, "users", "list", **access)
    assert (done.returncode, done.stdout.split()[-4:-2], done.stderr) == (0, ["ada", "ada@example.org"], "")


@pytest.mark.slow
def test_the_installed_command_explains_offline(environment: Path, tmp_path: Path) -> None:
    example = (ROOT / "docs/examples/monorepo.yaml").read_text(encoding="utf-8")
    (tmp_path / "pipeline.yml").write_text(example)
    (tmp_path / "push.json").write_bytes(to_bytes(push(FakeRepository("octo/platform"))))
    asked = ("explain", "pipeline.yml", "--event", "push.json", "--forge", "github", "--format", "json")
    done = run(environment, tmp_path, *asked)
    assert (done.returncode, done.stderr) == (0, "")
    jobs = {job["key"]: job["outlook"] for job in json.loads(done.stdout)["run"]["jobs"]}
    assert jobs == dict.fromkeys(("api", "web", "worker", "summary"), "depends") | {"changes": "starts"}
