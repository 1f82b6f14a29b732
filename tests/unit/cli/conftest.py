"""Fixtures: the command as a person calls it, and the API that it uses."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from cli.__main__ import main
from tests.unit.cli.fake_api import FakeApi

TOKEN = "tp_0123456789012345678901234567890000001"


class Result(NamedTuple):
    exit_code: int
    out: str
    err: str


Towpath = Callable[..., Result]


@pytest.fixture
def api() -> Iterator[FakeApi]:
    fake = FakeApi()
    yield fake
    fake.close()


@pytest.fixture
def towpath(
    api: FakeApi, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Towpath:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOWPATH_URL", api.url)
    monkeypatch.setenv("TOWPATH_TOKEN", TOKEN)

    def call(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["towpath", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return Result(int(ended.value.code or 0), printed.out, printed.err)

    return call
