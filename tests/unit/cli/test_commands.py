"""Tests of the commands: their requests to the API, their output, and their exit codes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from shared import VERSION
from shared.pipeline.schema import json_schema
from tests.unit.cli.conftest import TOKEN, Towpath
from tests.unit.cli.fake_api import FakeApi, Told, problem

PIPELINE: dict[str, Any] = {
    "id": 3,
    "name": "web-ci",
    "description": "",
    "enabled": True,
    "revision": 1,
    "created_by": 1,
    "created_at": "2026-11-23T12:00:00.000000Z",
    "updated_at": "2026-11-23T12:00:00.000000Z",
    "yaml_config": "version: 1\n",
}
FAULT = {
    "path": "jobs.test.servces",
    "code": "unknown_key",
    "message": 'unknown key. Did you mean "services"?',
    "hint": "Allowed here: services",
    "line": 2,
    "column": 3,
}


def page(*items: dict[str, Any], next_cursor: str | None = None) -> Told:
    return Told(body={"items": list(items), "next_cursor": next_cursor})


@pytest.fixture
def pipeline_file(tmp_path: Path) -> str:
    path = tmp_path / "pipeline.yml"
    path.write_text("jobs:\n  servces: 1\n")
    return str(path)


def test_every_request_carries_the_token(api: FakeApi, towpath: Towpath) -> None:
    api.answer("GET", "/pipelines", page(PIPELINE))
    result = towpath("pipelines", "list")
    assert result.exit_code == 0
    assert "web-ci" in result.out
    assert api.asked[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_json_is_the_apis_answer(api: FakeApi, towpath: Towpath) -> None:
    api.answer("GET", "/pipelines", page(PIPELINE))
    assert json.loads(towpath("pipelines", "list", "--json").out) == {
        "items": [PIPELINE],
        "next_cursor": None,
    }


def test_pages_are_joined_up_to_the_limit(api: FakeApi, towpath: Towpath) -> None:
    pages = [
        page(*({**PIPELINE, "id": n} for n in range(first, first + 200)), next_cursor="more")
        for first in (0, 200)
    ]
    api.answer("GET", "/pipelines", *pages)
    found = json.loads(towpath("pipelines", "list", "--limit", "250", "--json").out)
    assert [asked.query for asked in api.asked] == [{"limit": "200"}, {"limit": "50", "cursor": "more"}]
    assert len(found["items"]) == 400  # the fake returns 200 items for any limit


def test_a_pipeline_is_found_by_its_name(api: FakeApi, towpath: Towpath) -> None:
    api.answer("GET", "/pipelines", page(PIPELINE))
    api.answer("GET", "/pipelines/3", Told(body=PIPELINE))
    result = towpath("pipelines", "show", "web-ci")
    assert api.asked[0].query["name"] == "web-ci"
    assert "version: 1" in result.out


@pytest.mark.parametrize(
    ("found", "said"), [([], "no pipeline is called"), ([PIPELINE, PIPELINE], "several pipelines")]
)
def test_a_name_that_is_nobodys_or_several_peoples_is_an_error(
    api: FakeApi, towpath: Towpath, found: list[dict[str, Any]], said: str
) -> None:
    api.answer("GET", "/pipelines", page(*found))
    result = towpath("pipelines", "delete", "web-ci")
    assert (result.exit_code, api.asked[-1].method) == (1, "GET")
    assert said in result.err


def test_a_file_becomes_a_pipeline(api: FakeApi, towpath: Towpath, pipeline_file: str) -> None:
    api.answer("POST", "/pipelines", Told(201, PIPELINE))
    result = towpath("pipelines", "create", pipeline_file, "--name", "web-ci")
    assert api.asked[0].body == {
        "name": "web-ci",
        "description": "",
        "yaml_config": "jobs:\n  servces: 1\n",
        "enabled": True,
    }
    assert "created pipeline  3 web-ci, revision 1" in result.out


@pytest.mark.parametrize("command", [("pipelines", "create"), ("pipelines", "update", "3")])
def test_an_invalid_pipeline_is_shown_with_the_place_and_the_fix(
    api: FakeApi, towpath: Towpath, pipeline_file: str, command: tuple[str, ...]
) -> None:
    refusal = Told(
        422,
        problem(422, "pipeline_invalid", "The pipeline is not valid.", [FAULT]),
        "application/problem+json",
    )
    api.answer("POST", "/pipelines", refusal)
    api.answer("PUT", "/pipelines/3", refusal)
    result = towpath(*command, pipeline_file, "--name", "web-ci")
    assert result.exit_code == 1
    assert f'{pipeline_file}:2:3  jobs.test.servces: unknown key. Did you mean "services"?' in result.err
    assert "    2 |   servces: 1\n      |   ^~~~~~~" in result.err
    assert "Allowed here: services" in result.err


def test_validate_says_valid(api: FakeApi, towpath: Towpath, pipeline_file: str) -> None:
    api.answer("POST", "/pipelines/validate", Told(body={"valid": True, "errors": []}))
    result = towpath("validate", pipeline_file)
    assert (result.exit_code, result.out) == (0, f"{pipeline_file}: valid\n")


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_validate_ends_with_1_when_the_pipeline_is_not_valid(
    api: FakeApi, towpath: Towpath, pipeline_file: str, options: tuple[str, ...]
) -> None:
    api.answer("POST", "/pipelines/validate", Told(body={"valid": False, "errors": [FAULT]}))
    result = towpath("validate", pipeline_file, *options)
    assert result.exit_code == 1
    assert "unknown key" in result.out + result.err


def test_only_what_is_named_is_changed(api: FakeApi, towpath: Towpath) -> None:
    api.answer("PUT", "/pipelines/3", Told(body=PIPELINE))
    towpath("pipelines", "update", "3", "--description", "better")
    towpath("pipelines", "disable", "3")
    assert [asked.body for asked in api.asked] == [{"description": "better"}, {"enabled": False}]


def test_a_retry_says_what_it_made(api: FakeApi, towpath: Towpath) -> None:
    api.answer(
        "POST", "/runs/7/retry", Told(201, {"id": 8, "pipeline": "web-ci", "number": 2, "status": "pending"})
    )
    result = towpath("runs", "retry", "7", "--failed-only", "--latest")
    assert api.asked[0].body == {"only": "failed", "latest": True}
    assert "run 8 (web-ci #2) is pending" in result.out


@pytest.mark.parametrize(
    ("status", "exit_code", "said"),
    [
        (
            "failed",
            1,
            "run 4 was retried already, as run 7 (failed); to try that one again: towpath runs retry 7\n",
        ),
        ("running", 0, "run 4 was retried already, as run 7 (running)\n"),
    ],
)
def test_a_second_retry_says_which_run_the_first_one_made(
    api: FakeApi, towpath: Towpath, status: str, exit_code: int, said: str
) -> None:
    api.answer(
        "POST", "/runs/4/retry", Told(200, {"id": 7, "pipeline": "web-ci", "number": 2, "status": status})
    )
    result = towpath("runs", "retry", "4")
    assert (result.exit_code, result.err) == (exit_code, said)


@pytest.mark.parametrize(("status", "said"), [("running", "cancelling"), ("cancelled", "cancelled")])
def test_a_cancelled_run_is_said_to_be_on_its_way_until_it_is_over(
    api: FakeApi, towpath: Towpath, status: str, said: str
) -> None:
    api.answer(
        "POST", "/runs/8/cancel", Told(200, {"id": 8, "pipeline": "long", "number": 1, "status": status})
    )
    assert towpath("runs", "cancel", "8").out == f"run 8 (long #1): {said}\n"


def test_a_wish_that_takes_longer_is_said_to_be_accepted(api: FakeApi, towpath: Towpath) -> None:
    api.answer("POST", "/runs/7/cancel", Told(202, {"id": 5, "kind": "cancel", "run_id": 7}))
    result = towpath("runs", "cancel", "7")
    assert (result.exit_code, "accepted" in result.out) == (0, True)


def test_a_delivery_with_any_id_is_shown(api: FakeApi, towpath: Towpath) -> None:
    api.answer(
        "GET",
        "/deliveries/a%2Fb%3Fc",
        Told(
            body={
                "delivery_id": "a/b?c",
                "source": "github",
                "event_type": "push",
                "received_at": "2026-11-23T12:00:00.000000Z",
                "outcome": None,
                "reason": None,
                "event_id": None,
                "body_bytes": 3,
                "body_sha256": "ab",
                "via_inlet": False,
            }
        ),
    )
    assert "not decided yet" in towpath("deliveries", "show", "a/b?c").out


def test_an_event_is_shown_with_the_reasons_of_each_decision(api: FakeApi, towpath: Towpath) -> None:
    decision = {
        "pipeline": "web-ci",
        "outcome": "not_matched",
        "run_id": None,
        "reasons": [{"code": "branch", "text": "branch dev is not main"}],
    }
    names = (
        "action",
        "delivery_id",
        "source",
        "title",
        "message",
        "sender_login",
        "tag",
        "ref",
        "pull_request",
    )
    event = {
        "id": 1,
        "kind": "push",
        "repository": "octo/web",
        "branch": "dev",
        "sha": "a" * 40,
        "trusted": True,
        "received_at": "x",
        "decisions": [decision],
    }
    api.answer("GET", "/events/1", Told(body={**dict.fromkeys(names), **event}))
    assert "branch dev is not main" in towpath("events", "show", "1").out


def test_an_event_without_decisions_says_where_to_look(api: FakeApi, towpath: Towpath) -> None:
    names = (
        "action",
        "delivery_id",
        "source",
        "title",
        "message",
        "sender_login",
        "tag",
        "ref",
        "pull_request",
    )
    event = {
        "id": 1,
        "kind": "push",
        "repository": "octo/web",
        "branch": "dev",
        "sha": "a" * 40,
        "trusted": True,
        "received_at": "x",
        "decisions": [],
    }
    api.answer("GET", "/events/1", Told(body={**dict.fromkeys(names), **event}))
    assert (
        "no pipeline of yours names octo/web (see `towpath pipelines show NAME`"
        in towpath("events", "show", "1").out
    )


WARNING: dict[str, Any] = {
    "path": "repository",
    "code": "no_such_repository",
    "message": "nothing will run for octo/boatz",
    "hint": "Did you mean octo/boats?",
    "line": None,
    "column": None,
}


@pytest.mark.parametrize("hint", ["Did you mean octo/boats?", None])
@pytest.mark.parametrize(
    "command", [("validate",), ("pipelines", "create", "--name", "boats"), ("pipelines", "update", "3")]
)
def test_a_repository_for_which_nothing_will_run_is_warned_of(
    api: FakeApi, towpath: Towpath, pipeline_file: str, command: tuple[str, ...], hint: str | None
) -> None:
    warnings = [{**WARNING, "hint": hint}]
    api.answer("POST", "/pipelines", Told(201, {**PIPELINE, "warnings": warnings}))
    api.answer("PUT", "/pipelines/3", Told(200, {**PIPELINE, "warnings": warnings}))
    api.answer("POST", "/pipelines/validate", Told(200, {"valid": True, "errors": [], "warnings": warnings}))
    result = towpath(*command, pipeline_file)
    assert (result.exit_code, result.err) == (
        0,
        f"warning: nothing will run for octo/boatz{f'. {hint}' if hint else ''}\n",
    )


@pytest.mark.parametrize("reference", ["2", "octo/web", "Octo/Web"])
def test_a_repository_is_named_by_its_id_or_its_full_name(
    api: FakeApi, towpath: Towpath, reference: str
) -> None:
    api.answer(
        "GET", "/repositories", page({"id": 1, "full_name": "octo/boats"}, {"id": 2, "full_name": "octo/web"})
    )
    api.answer("DELETE", "/repositories/2", Told(204))
    result = towpath("repositories", "delete", reference)
    assert (result.exit_code, api.asked[-1].path) == (0, "/repositories/2")


@pytest.mark.parametrize(
    ("full_names", "said"), [((), "there is no repository"), (("octo/web", "octo/web"), "several forges")]
)
def test_a_full_name_that_is_no_repositorys_or_several_ones_is_an_error(
    api: FakeApi, towpath: Towpath, full_names: tuple[str, ...], said: str
) -> None:
    api.answer(
        "GET",
        "/repositories",
        page(*({"id": number, "full_name": name} for number, name in enumerate(full_names))),
    )
    result = towpath("repositories", "show", "octo/web")
    assert (result.exit_code, said in result.err) == (1, True)


def test_the_schema_and_the_version_need_no_api(api: FakeApi, towpath: Towpath) -> None:
    assert json.loads(towpath("validate", "--schema").out) == json_schema()
    assert (towpath("--version").out, api.asked) == (f"towpath {VERSION}\n", [])


def test_a_narrow_terminal_breaks_no_word_that_is_looked_for(
    api: FakeApi, towpath: Towpath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    run = {
        "id": 12345,
        "pipeline": "web-ci",
        "number": 12,
        "status": "cancelled",
        "reason": "cancelled_by_user",
        "event": "pull_request",
    }
    more = {
        "triggered_by": "ada",
        "branch": "feature/" + "long-" * 10,
        "sha": "0123456789" * 4,
        "created_at": "2026-11-23T15:10:11.000000Z",
    }
    api.answer("GET", "/runs", page({**run, **more}))
    out = towpath("runs", "list").out
    assert max(map(len, re.sub(r"\x1b\[[0-9;]*m", "", out).splitlines())) <= 80
    assert [
        word
        for word in ("12345", "cancelled", "cancelled_by_user", " 01234567 ", "11-23 15:10")
        if word not in out
    ] == []


def test_a_new_token_alone_goes_to_standard_output(api: FakeApi, towpath: Towpath) -> None:
    api.answer("POST", "/tokens", Told(201, {"id": 4, "user_id": 1, "token": "tp_new"}))
    result = towpath("tokens", "create", "laptop", "--scope", "read")
    assert (result.out, api.asked[0].body) == ("tp_new\n", {"name": "laptop", "scopes": ["read"]})


def test_a_token_is_listed_with_the_one_that_made_it(api: FakeApi, towpath: Towpath) -> None:
    times = {"last_used_at": None, "expires_at": None, "revoked_at": None}
    token = {"id": 41, "name": "laptop", "parent_id": 7, "prefix": "tp_ab", "scopes": ["read"], **times}
    api.answer("GET", "/tokens", page(token))
    [heading, row] = towpath("tokens", "list").out.splitlines()
    assert heading.split()[:4] == ["id", "name", "made", "by"]
    assert row.split()[:3] == ["41", "laptop", "7"]


def test_names_written_by_others_do_not_act_on_the_terminal(api: FakeApi, towpath: Towpath) -> None:
    api.answer("GET", "/pipelines", page({**PIPELINE, "name": "a\x1b]52;c;eA==\x07b\x1b[2J[red]c"}))
    result = towpath("pipelines", "list")
    assert "ab[red]c" in result.out
    assert "\x1b" not in result.out
    assert "\x1b" not in towpath("pipelines", "list", "--json").out


RUN: dict[str, Any] = {
    "id": 7,
    "pipeline": "web-ci",
    "number": 2,
    "revision": 1,
    "status": "running",
    "repository": "octo/web",
    "event_id": 4,
    "event": "push",
    "triggered_by": "github:mona",
    "created_at": "2026-11-23T12:00:00.000000Z",
    "log_complete": False,
    "provenance": {},
    **dict.fromkeys(("branch", "sha", "retry_of", "reason", "started_at", "finished_at")),
}
ATTEMPT: dict[str, Any] = {
    "number": 1,
    "status": "finished",
    "outcome": "error",
    "reason": "evicted",
    "steps": [],
}
SECOND: dict[str, Any] = {"number": 2, "status": "claimed", "outcome": None, "reason": None, "steps": []}
JOB: dict[str, Any] = {
    "name": "build",
    "status": "pending",
    "place": None,
    "retry_at": None,
    "carried_from": None,
    **dict.fromkeys(("reason", "message")),
}


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ({"waiting_for": "slot", "place": 3, "attempts": []}, "slot, 3 before it"),
        (
            {
                "waiting_for": "retry_backoff",
                "retry_at": "2026-11-23T12:01:00.000000Z",
                "attempts": [ATTEMPT],
            },
            "retry_backoff until 2026-11-23 12:01:00",
        ),
        (
            {"waiting_for": "node", "message": "0/3 nodes are available", "attempts": [ATTEMPT]},
            "0/3 nodes are available",
        ),
        (
            {"waiting_for": None, "attempts": [ATTEMPT, SECOND]},
            "1 error (evicted), 2 claimed",
        ),
    ],
)
def test_a_run_shows_what_its_jobs_wait_for_and_how_their_attempts_ended(
    api: FakeApi, towpath: Towpath, job: dict[str, Any], words: str
) -> None:
    api.answer("GET", "/runs/7", Told(body={**RUN, "jobs": [{**JOB, **job}]}))
    assert words in " ".join(towpath("runs", "show", "7").out.split())


def test_x12_a_run_shows_each_warning_once(api: FakeApi, towpath: Towpath) -> None:
    warned = {**ATTEMPT, "warnings": ["The job shares a network."]}
    other = {**JOB, "name": "test", "waiting_for": None, "attempts": [warned]}
    jobs = [
        {**JOB, "waiting_for": None, "attempts": [warned, {**SECOND, "warnings": warned["warnings"]}]},
        other,
    ]
    api.answer("GET", "/runs/7", Told(body={**RUN, "jobs": jobs}))
    assert towpath("runs", "show", "7").err == "warning: build, test: The job shares a network.\n"


def test_a_stopped_run_shows_what_it_was_stopped_for(api: FakeApi, towpath: Towpath) -> None:
    """The cause is shown even if the job that was asked to stop ended with success and so ended the run."""
    changes = [
        ("running", None, "attempt:5"),
        ("cancelled", "superseded", "run:8"),
        ("success", None, "attempt:5"),
        ("cancelled", "superseded", "attempt:5"),
    ]
    transitions = [
        {"to_status": status, "reason": reason, "cause": cause} for status, reason, cause in changes
    ]
    run = {**RUN, "status": "cancelled", "reason": "superseded", "jobs": [], "transitions": transitions}
    api.answer("GET", "/runs/7", Told(body=run))
    shown = " ".join(towpath("runs", "show", "7").out.split())
    assert "cancelled (superseded)" in shown
    assert "stopped for run 8" in shown


def test_limits_are_shown_with_their_settings(api: FakeApi, towpath: Towpath) -> None:
    limit = {
        "setting": "TOWPATH_WEBHOOK_BODY_BYTES",
        "value": 26214400.0,
        "unit": "bytes",
        "reason": "A webhook's body.",
    }
    api.answer("GET", "/limits", Told(200, {"items": [limit]}))
    result = towpath("limits")
    assert "26,214,400 bytes" in result.out
    assert "TOWPATH_WEBHOOK_BODY_BYTES" in result.out
    assert json.loads(towpath("limits", "--json").out) == {"items": [limit]}
