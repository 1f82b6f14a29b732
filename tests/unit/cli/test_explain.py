"""Tests of `towpath explain`: its two formats, its errors, and that other commands don't load its code."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.harness.github import FakeRepository, push, to_bytes
from tests.unit.cli.conftest import Towpath
from tests.unit.cli.fake_api import FakeApi

PIPELINE = """
version: 1
repository: octo/web
on: { push: { branches: [main] } }
concurrency: { group: web, on_new: queue }
jobs:
  lint: { steps: [{ run: ruff check . }] }
  test:
    needs: lint
    matrix: { python: ["3.11"] }
    image: python:${{ matrix.python }}
    steps: [{ run: pytest }]
  image: { needs: test, if: "event.branch == 'other'", steps: [{ run: x }] }
"""


@pytest.fixture
def folder(tmp_path: Path, towpath: Towpath, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder of the command, with a pipeline and payloads. No API is configured."""
    monkeypatch.delenv("TOWPATH_URL")
    monkeypatch.delenv("TOWPATH_TOKEN")
    (tmp_path / "p.yml").write_text(PIPELINE)
    (tmp_path / "bad.yml").write_text("version: 1\nrepositry: x\n")
    (tmp_path / "push.json").write_bytes(to_bytes(push(FakeRepository("octo/web"))))
    (tmp_path / "other.json").write_bytes(to_bytes(push(FakeRepository("octo/web"), ref="refs/heads/x")))
    (tmp_path / "empty.json").write_text("{}")
    return tmp_path


def test_the_text_has_the_decision_the_jobs_and_the_reasons(
    api: FakeApi, towpath: Towpath, folder: Path
) -> None:
    result = towpath("explain", "p.yml", "--event", "push.json")
    assert result.exit_code == 0
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert "decision run" in lines
    assert "why Branch `main` matches `main`." in lines
    assert "group web (limit 1, queue)" in lines
    assert "lint starts It waits for no other job." in lines
    assert "test (3.11) depends on others It runs if these jobs succeed: `lint`." in lines
    assert any(line.startswith("image skipped if: event.branch == 'other' → false because") for line in lines)
    assert "image python:3.11" in lines
    assert "assumed: Its owner is a maintainer of the repository.\n" in result.err
    assert api.asked == []


def test_json_is_one_document(towpath: Towpath, folder: Path) -> None:
    result = towpath("explain", "p.yml", "--event", "push.json", "--format", "json")
    answer = json.loads(result.out)
    assert (result.exit_code, result.err) == (0, "")
    assert set(answer) == {"forge", "event", "assumed", "decision", "run"}
    assert [job["outlook"] for job in answer["run"]["jobs"]] == ["starts", "depends", "skipped"]


def test_an_event_that_starts_nothing_is_an_answer_too(towpath: Towpath, folder: Path) -> None:
    result = towpath("explain", "p.yml", "--event", "other.json")
    assert result.exit_code == 0
    assert "not_matched" in result.out
    assert "Branch `x` matches none of `main`." in result.out
    assert "outlook" not in result.out


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (
            ("bad.yml", "--event", "push.json"),
            1,
            'bad.yml:2:1  repositry: unknown key. Did you mean "repository"',
        ),
        (("p.yml", "--event", "empty.json"), 1, "--event-type push, or --event-type pull_request"),
        (("p.yml", "--event", "p.yml"), 1, "The payload is not JSON"),
        (("p.yml", "--event", "none.json"), 2, "none.json: No such file or directory"),
        (("none.yml", "--event", "push.json"), 2, "none.yml: No such file or directory"),
    ],
)
def test_errors_say_what_to_do(
    towpath: Towpath, folder: Path, arguments: tuple[str, ...], exit_code: int, message: str
) -> None:
    result = towpath("explain", *arguments, "--forge", "github")
    assert (result.exit_code, result.out) == (exit_code, "")
    assert message in result.err


def test_the_other_commands_do_not_load_the_code_that_explains() -> None:
    program = (
        "import sys, cli.app; cli.app.build();"
        "print(sorted({'pydantic', 'yaml', 'orjson', 'shared.pipeline'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
