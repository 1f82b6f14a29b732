"""Tests of the contents of log lines, and of what they must not contain."""

import json
from collections.abc import Iterator

import pytest
import structlog

from shared.logconfig import configure_logging
from shared.settings import LogSettings


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.mark.parametrize("log_json", [True, False])
def test_a_traceback_shows_no_local_variables(log_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(log_json=log_json), "gateway")
    _fail("tp_" + "hunter22" * 4)
    printed = capsys.readouterr().out
    assert "ZeroDivisionError" in printed
    assert "hunter22" not in printed


def _fail(token: str) -> None:
    try:
        len(token) / 0
    except ZeroDivisionError:
        structlog.get_logger().exception("request_crashed")


def test_a_line_is_one_json_object_with_the_service(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(), "gateway")
    structlog.get_logger().info("delivery_accepted", delivery_id="1\n2")
    [line] = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert found.pop("timestamp").endswith("Z")
    assert found == {
        "event": "delivery_accepted",
        "delivery_id": "1\n2",
        "level": "info",
        "service": "gateway",
    }
