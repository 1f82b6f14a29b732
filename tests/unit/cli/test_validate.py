"""Tests of `towpath validate` with several files, and of its formats for programs."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.reports import Report, annotations
from cli.sanitize import one_line
from tests.unit.cli.conftest import Towpath
from tests.unit.cli.fake_api import FakeApi, Told, problem

FAULT: dict[str, Any] = {
    "path": "jobs.test.servces",
    "code": "unknown_key",
    "message": 'unknown key. Did you mean "services"?',
    "hint": "Allowed here: services",
    "line": 2,
    "column": 3,
}
WARNING: dict[str, Any] = {
    "path": "repository",
    "code": "no_such_repository",
    "message": "nothing will run for octo/boatz",
    "hint": None,
    "line": None,
    "column": None,
}
INVALID = Told(body={"valid": False, "errors": [FAULT], "warnings": []})
VALID = Told(body={"valid": True, "errors": [], "warnings": []})
WARNED = Told(body={"valid": True, "errors": [], "warnings": [WARNING]})


@pytest.fixture
def folder(tmp_path: Path, towpath: Towpath) -> Path:
    """Return the current folder of the command, with two pipelines in it."""
    (tmp_path / "a.yml").write_text("jobs:\n  servces: 1\n")
    (tmp_path / "b.yml").write_text("version: 1\n")
    return tmp_path


def asks(api: FakeApi, *told: Told) -> None:
    api.answer("POST", "/pipelines/validate", *told)


def test_several_files_are_each_checked_and_named(api: FakeApi, towpath: Towpath, folder: Path) -> None:
    asks(api, INVALID, WARNED)
    result = towpath("validate", "a.yml", "b.yml")
    assert (result.exit_code, result.out) == (1, "b.yml: valid\n")
    assert 'a.yml:2:3  jobs.test.servces: unknown key. Did you mean "services"?' in result.err
    assert "b.yml: warning: nothing will run for octo/boatz\n" in result.err
    assert [asked.body["yaml_config"] for asked in api.asked] == ["jobs:\n  servces: 1\n", "version: 1\n"]


def test_valid_files_alone_end_with_0(api: FakeApi, towpath: Towpath, folder: Path) -> None:
    asks(api, VALID)
    for form in ("text", "json", "github"):
        assert towpath("validate", "a.yml", "b.yml", "--format", form).exit_code == 0


def test_json_has_one_shape_for_any_number_of_files(api: FakeApi, towpath: Towpath, folder: Path) -> None:
    asks(api, INVALID, WARNED, VALID)
    result = towpath("validate", "--format", "json", "a.yml", "b.yml")
    assert (result.exit_code, result.err) == (1, "")
    assert json.loads(result.out) == {
        "valid": False,
        "files": [
            {"file": "a.yml", "valid": False, "errors": [FAULT], "warnings": []},
            {"file": "b.yml", "valid": True, "errors": [], "warnings": [WARNING]},
        ],
    }
    one = towpath("validate", "--format", "json", "b.yml")
    assert json.loads(one.out) == {
        "valid": True,
        "files": [{"file": "b.yml", "valid": True, "errors": [], "warnings": []}],
    }


def test_github_gets_an_annotation_for_each_error_and_warning(
    api: FakeApi, towpath: Towpath, folder: Path
) -> None:
    asks(api, INVALID, WARNED)
    result = towpath("validate", "--format", "github", "a.yml", "b.yml")
    assert (result.exit_code, result.err) == (1, "")
    said = 'jobs.test.servces: unknown key. Did you mean "services"?%0AAllowed here: services'
    assert result.out.splitlines() == [
        f"::error file=a.yml,line=2,col=3,title=unknown_key::{said}",
        "::warning file=b.yml,title=no_such_repository::repository: nothing will run for octo/boatz",
    ]


@pytest.mark.parametrize("form", ["text", "json", "github"])
def test_standard_input_can_be_one_of_the_files(
    api: FakeApi, towpath: Towpath, folder: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("name: ü\n".encode())))
    asks(api, INVALID)
    result = towpath("validate", "-", "b.yml", "--format", form)
    assert [asked.body["yaml_config"] for asked in api.asked] == ["name: ü\n", "version: 1\n"]
    match form:
        case "text":
            assert "<stdin>:2:3  jobs.test.servces" in result.err
        case "json":
            assert [file["file"] for file in json.loads(result.out)["files"]] == ["-", "b.yml"]
        case _:
            assert result.out.startswith("::error line=2,col=3,title=unknown_key::")


@pytest.mark.parametrize("form", ["text", "json", "github"])
def test_a_file_that_cannot_be_read_is_wrong_usage_and_nothing_is_checked(
    api: FakeApi, towpath: Towpath, folder: Path, form: str
) -> None:
    asks(api, VALID)
    result = towpath("validate", "a.yml", "missing.yml", "--format", form)
    assert (result.exit_code, result.out, api.asked) == (2, "", [])
    assert "missing.yml: No such file" in result.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("validate", "-", "-"), "standard input can be read only once"),
        (("validate",), "no FILE is named"),
        (("validate", "a.yml", "b.yml", "--json"), "--format json"),
        (("validate", "a.yml", "--json", "--format", "github"), "--format json"),
        (("validate", "a.yml", "--format", "xml"), "xml"),
    ],
)
def test_what_does_not_fit_together_is_wrong_usage(
    api: FakeApi, towpath: Towpath, folder: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = towpath(*arguments)
    assert (result.exit_code, result.out, api.asked) == (2, "", [])
    assert said in result.err


def test_a_refused_request_names_the_file(api: FakeApi, towpath: Towpath, folder: Path) -> None:
    refusal = Told(422, problem(422, "invalid", "The request is not valid."), "application/problem+json")
    asks(api, VALID, refusal)
    result = towpath("validate", "a.yml", "b.yml", "--format", "json")
    assert (result.exit_code, result.out) == (1, "")
    assert "b.yml: " in result.err
    assert "The request is not valid." in result.err


def read_command(line: str) -> tuple[str, dict[str, str], str]:
    """Read a workflow command as GitHub's runner does: level, properties and message.

    The runner splits first and unescapes afterwards. It replaces `%25` last.
    """

    def unescaped(text: str, signs: dict[str, str]) -> str:
        for escape, sign in signs.items():
            text = text.replace(escape, sign)
        return text.replace("%25", "%")

    line_ends = {"%0D": "\r", "%0A": "\n"}
    assert line.startswith("::")
    assert len(line.splitlines()) == 1
    head, _, message = line[2:].partition("::")
    level, _, properties = head.partition(" ")
    pairs = [part.split("=", 1) for part in properties.split(",")]
    values = {name: unescaped(value, {**line_ends, "%3A": ":", "%2C": ","}) for name, value in pairs}
    return level, values, unescaped(message, line_ends)


signs = st.sampled_from([*"ab=:,%|; \r\nü", "::", "%0A", "%25"])
awkward = st.lists(signs, min_size=1, max_size=12).map("".join)


@given(awkward.filter(lambda name: name != "-"), awkward, st.integers(1, 9), st.integers(1, 9))
def test_githubs_runner_reads_what_was_meant(file: str, message: str, line: int, column: int) -> None:
    fault = {**FAULT, "path": "", "message": message, "hint": None, "line": line, "column": column}
    (annotation,) = annotations(Report(file, {"valid": False, "errors": [fault]}))
    level, properties, said = read_command(annotation)
    assert (level, properties) == (
        "error",
        {"file": file, "line": str(line), "col": str(column), "title": "unknown_key"},
    )
    assert said == one_line(message)


def test_a_message_cannot_end_an_annotation_or_begin_another() -> None:
    fault = {**FAULT, "message": "a\n::error::b\r\n\x1b[31m::stop-commands::x\u202e"}
    (annotation,) = annotations(Report("x\n::error::y.yml", {"valid": False, "errors": [fault]}))
    assert annotation.count("\n") == annotation.count("\r") == annotation.count("\x1b") == 0
    assert read_command(annotation)[1]["file"] == "x\n::error::y.yml"
