"""Tests of the limit of one log line a second for lines that outsiders can cause."""

import time

import pytest
from structlog.testing import capture_logs

from shared.seldom import Seldom


def test_x06_a_line_says_how_many_were_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    seldom = Seldom("happened")
    with capture_logs() as logs:
        for at in (100.0, 100.1, 100.9, 101.0, 101.5, 103.0):
            now[0] = at
            seldom.log(at=at)
    assert [(line["at"], line.get("left_out")) for line in logs] == [(100.0, None), (101.0, 2), (103.0, 1)]
    assert {(line["event"], line["log_level"]) for line in logs} == {("happened", "warning")}
