"""Tests of exit codes: 0 success, 1 failure, 2 wrong usage, 3 no API. Each error message contains advice."""

import pytest

from tests.unit.cli.conftest import Towpath
from tests.unit.cli.fake_api import FakeApi, Told, problem


@pytest.mark.parametrize(
    ("status", "exit_code", "said"),
    [
        (401, 3, "check TOWPATH_TOKEN"),
        (403, 3, "tokens create"),
        (404, 1, "not yours to see"),
        (409, 1, "The detail."),
        (422, 1, "query.status: not a status"),
        (500, 1, "The detail."),
        (503, 1, "try again"),
    ],
)
def test_every_refusal_says_what_is_wrong_and_what_to_do(
    api: FakeApi, towpath: Towpath, status: int, exit_code: int, said: str
) -> None:
    faults = [
        {
            "path": "query.status",
            "code": "enum",
            "message": "not a status",
            "hint": None,
            "line": None,
            "column": None,
        }
    ]
    api.answer(
        "GET",
        "/runs",
        Told(status, problem(status, "code", "The detail.", faults), "application/problem+json"),
    )
    result = towpath("runs", "list")
    assert (result.exit_code, result.out) == (exit_code, "")
    assert said in result.err


def test_no_answer_is_3(towpath: Towpath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOWPATH_URL", "http://127.0.0.1:1")
    result = towpath("runs", "list")
    assert result.exit_code == 3
    assert "does not answer" in result.err
    assert "make status" in result.err


def test_no_settings_is_3(towpath: Towpath, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOWPATH_URL")
    result = towpath("runs", "list")
    assert (result.exit_code, "TOWPATH_URL is not set" in result.err) == (3, True)


@pytest.mark.parametrize("told", [Told(body=b"<html>hello", content_type="text/html"), Told(body=[1])])
def test_another_server_at_that_address_is_3(api: FakeApi, towpath: Towpath, told: Told) -> None:
    api.answer("GET", "/runs/1", told)
    result = towpath("runs", "show", "1")
    assert (result.exit_code, "not Towpath" in result.err) == (3, True)


def test_an_answer_that_breaks_off_is_3(api: FakeApi, towpath: Towpath) -> None:
    api.answer("GET", "/runs/1", Told(body={"id": 1}, breaks_off=True))
    assert towpath("runs", "show", "1").exit_code == 3


def test_a_redirect_is_not_followed(api: FakeApi, towpath: Towpath) -> None:
    api.answer("GET", "/runs/1", Told(302, headers={"Location": f"{api.url}/elsewhere"}))
    assert towpath("runs", "show", "1").exit_code == 1
    assert [asked.path for asked in api.asked] == ["/runs/1"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("runs", "show", "x"),
        ("runs", "show", "0"),
        ("runs", "dance"),
        ("pipelines", "create", "no-such-file.yml", "--name", "x"),
        ("pipelines", "update", "3"),
        ("runs", "logs", "3", "--attempt", "1"),
        ("repositories", "add", "a/b", "--clone-url", "u", "--clone-token-file", "no-such-file"),
    ],
)
def test_wrong_usage_is_2_and_asks_nothing(
    api: FakeApi, towpath: Towpath, arguments: tuple[str, ...]
) -> None:
    result = towpath(*arguments)
    assert (result.exit_code, api.asked) == (2, [])
    assert result.err


def test_what_a_refusal_says_does_not_act_on_the_terminal(api: FakeApi, towpath: Towpath) -> None:
    api.answer("GET", "/runs/1", Told(409, problem(409, "code", "a\x1b[2Jb"), "application/problem+json"))
    assert "\x1b" not in towpath("runs", "show", "1").err


@pytest.mark.parametrize(
    "group", ["", "pipelines", "runs", "events", "deliveries", "repositories", "users", "tokens"]
)
def test_help_asks_nothing(api: FakeApi, towpath: Towpath, group: str) -> None:
    result = towpath(*([group] if group else []), "--help")
    assert (result.exit_code, api.asked) == (0, [])
    assert "Commands" in result.out
