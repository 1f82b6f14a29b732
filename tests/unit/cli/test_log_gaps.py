"""Tests of the warnings about gaps in the logs of a run."""

from typing import Any

import pytest

from tests.unit.cli.conftest import Towpath
from tests.unit.cli.fake_api import FakeApi, Told
from tests.unit.cli.test_commands import RUN


def test_a_run_shows_where_lines_of_its_log_may_be_missing(api: FakeApi, towpath: Towpath) -> None:
    gap = {"job": "build", "attempt": 2, "container": "job", "line": 995, "reason": "it was not kept"}
    api.answer("GET", "/runs/7", Told(body={**RUN, "log_complete": True, "log_gaps": [gap], "jobs": []}))
    result = towpath("runs", "show", "7")
    assert "complete, but lines may be missing" in result.out
    assert result.err == (
        "warning: the log of build, attempt 2, job, line 995: lines may be missing: it was not kept\n"
    )


@pytest.mark.parametrize("gaps", [{"log_gaps": []}, {}], ids=["none", "an earlier gateway"])
def test_a_run_without_gaps_in_its_log_warns_of_none(
    api: FakeApi, towpath: Towpath, gaps: dict[str, Any]
) -> None:
    api.answer("GET", "/runs/7", Told(body={**RUN, "log_complete": True, **gaps, "jobs": []}))
    result = towpath("runs", "show", "7")
    assert "missing" not in result.out + result.err
