"""Tests of the decision whether tests use containers."""

import pytest
from pydantic import ValidationError

from devstack.install import PROGRAMS
from tests.harness import servers

SERVER = next(program for program in PROGRAMS if program.server)


@pytest.mark.parametrize(
    ("setting", "missing", "engine", "chosen"),
    [
        ("", False, True, False),
        ("", True, True, True),
        ("", True, False, False),
        ("auto", False, True, False),
        ("local", True, True, False),
        ("containers", False, True, True),
        ("containers", False, False, True),
    ],
)
def test_containers_are_chosen(
    monkeypatch: pytest.MonkeyPatch, setting: str, missing: bool, engine: bool, chosen: bool
) -> None:
    monkeypatch.setenv("TOWPATH_TEST_SERVERS", setting)
    monkeypatch.setattr(servers, "missing_servers", lambda: [SERVER] if missing else [])
    monkeypatch.setattr(servers, "docker_works", lambda: engine)
    assert servers.containers_are_chosen() is chosen


def test_another_word_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOWPATH_TEST_SERVERS", "docker")
    with pytest.raises(ValidationError, match=r"servers[\s\S]*'auto', 'local' or 'containers'"):
        servers.containers_are_chosen()
