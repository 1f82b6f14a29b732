"""The texts of `towpath runs show` and `towpath runs logs` about matrices, conditions and outputs."""

import re
from typing import Any

import pytest

from tests.unit.cli.conftest import Result, Towpath
from tests.unit.cli.fake_api import FakeApi, Told
from tests.unit.cli.test_commands import ATTEMPT, JOB, RUN

SENTENCE = "if: needs.test.result == 'failed' → false because needs.test.result = 'success'"


def of_matrix(*values: str, **fields: Any) -> dict[str, Any]:
    """Return a job of a matrix, as the API shows it."""
    key = f"test ({', '.join(values)})"
    new = {"matrix": dict(zip(("python", "os"), values, strict=True)), "outputs": {}, "condition": None}
    return {**JOB, "key": key, "name": key, **new, "waiting_for": None, "attempts": [], **fields}


def shown(api: FakeApi, towpath: Towpath, *jobs: dict[str, Any]) -> list[str]:
    api.answer("GET", "/runs/7", Told(body={**RUN, "jobs": list(jobs)}))
    result = towpath("runs", "show", "7")
    assert result.exit_code == 0
    return [" ".join(line.split()) for line in result.out.splitlines()]


def test_a_job_of_a_matrix_has_its_key_its_title_and_its_values(api: FakeApi, towpath: Towpath) -> None:
    lines = shown(
        api,
        towpath,
        of_matrix("3.10", "linux", name="Tests on 3.10", status="success"),
        of_matrix("3.11", "linux", status="success"),
    )
    assert "job title matrix status reason attempts" in lines
    assert "test (3.10, linux) Tests on 3.10 python=3.10, os=linux success - -" in lines
    assert "test (3.11, linux) - python=3.11, os=linux success - -" in lines


def test_a_job_says_why_it_was_skipped_and_what_its_failure_means(api: FakeApi, towpath: Towpath) -> None:
    skipped = {"status": "skipped", "reason": "condition_false", "condition": SENTENCE}
    lines = shown(
        api,
        towpath,
        of_matrix("1", "a", **skipped, message=SENTENCE),
        of_matrix("2", "a", **skipped),
        of_matrix("3", "a", status="failed", allow_failure=True, message="The step `x` failed."),
        of_matrix("4", "a", status="success", flaky=True),
        of_matrix("5", "a", status="success", allow_failure=True, condition="if: a → true"),
    )
    assert lines.count("job message") == 1
    assert lines[lines.index("job message") + 1 :] == [
        f"test (1, a) {SENTENCE}",
        f"test (2, a) {SENTENCE}",
        "test (3, a) Allowed to fail. The step `x` failed.",
        "test (4, a) Flaky: it succeeded after its own code had failed.",
    ]


def test_outputs_are_shown_shortened_and_without_control_characters(api: FakeApi, towpath: Towpath) -> None:
    outputs = {"digest": "sha256:1", "long": "x" * 65_536, "hostile": "a\x1b[2Jb\nc"}
    lines = shown(api, towpath, of_matrix("1", "a", status="success", outputs=outputs))
    assert lines[lines.index("job output value") + 1 :] == [
        "test (1, a) digest sha256:1",
        f"test (1, a) long {'x' * 200}… (65536 characters)",
        "test (1, a) hostile ab c",
    ]


def test_a_run_of_an_earlier_gateway_is_shown_by_names_and_without_empty_columns(
    api: FakeApi, towpath: Towpath
) -> None:
    lines = shown(api, towpath, {**JOB, "status": "success", "waiting_for": None, "attempts": []})
    assert lines[lines.index("job status reason attempts") :] == [
        "job status reason attempts",
        "build success - -",
    ]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, towpath: Towpath) -> Towpath:
    """Return the command at a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments: str) -> Result:
        monkeypatch.setattr("sys.stdout.isatty", lambda: True)
        return towpath(*arguments)

    return call


def test_at_a_narrow_terminal_each_job_of_a_matrix_is_one_line(api: FakeApi, terminal: Towpath) -> None:
    end = {**ATTEMPT, "outcome": "failed", "reason": "script_failed"}
    jobs = [
        of_matrix(f"3.{version}", "debian", status="failed", reason="script_failed", attempts=[end])
        for version in range(12)
    ]
    api.answer("GET", "/runs/7", Told(body={**RUN, "jobs": jobs}))
    out = re.sub(r"\x1b\[[0-9;]*m", "", terminal("runs", "show", "7").out)
    table = out.splitlines()[out.splitlines().index("") + 1 :]
    assert max(map(len, table)) <= 80
    assert [" ".join(line.split()) for line in table[1:]] == [
        f"test (3.{version}, debian) failed script_failed 1 failed (script_failed)" for version in range(12)
    ]


def test_at_a_narrow_terminal_the_values_that_a_key_does_not_have_are_shown(
    api: FakeApi, terminal: Towpath
) -> None:
    cut = of_matrix("1", "a", key="test (1, … 12345678", name="test (1, … 12345678", status="success")
    api.answer("GET", "/runs/7", Told(body={**RUN, "jobs": [cut]}))
    assert "python=1, os=a" in terminal("runs", "show", "7").out


def test_at_a_terminal_the_job_stands_once_beside_its_steps(api: FakeApi, terminal: Towpath) -> None:
    steps = [{"name": name, "outcome": "success", "exit_code": 0} for name in ("one", "two")]
    attempts = [{**ATTEMPT, "outcome": "success", "reason": None, "steps": steps}]
    api.answer("GET", "/runs/7", Told(body={**RUN, "jobs": [of_matrix("1", "a", attempts=attempts)]}))
    out = re.sub(r"\x1b\[[0-9;]*m", "", terminal("runs", "show", "7").out)
    assert [line.split() for line in out.splitlines()[-2:]] == [
        ["test", "(1,", "a)", "1", "one", "success", "0"],
        ["two", "success", "0"],
    ]


def test_a_log_is_chosen_by_the_key_of_its_job(api: FakeApi, towpath: Towpath) -> None:
    job = of_matrix("3.12", "a&b")
    api.answer("GET", "/runs/7", Told(body={**RUN, "jobs": [job]}))
    api.answer("GET", "/runs/7/logs", Told(body=b"hello\n", content_type="text/plain"))
    result = towpath("runs", "logs", "7", "--job", "test (3.12, a&b)")
    assert result.out == "hello\n"
    assert api.asked[-1].query == {"job": "test (3.12, a&b)"}
