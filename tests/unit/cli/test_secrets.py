"""Tests of `towpath secrets` and `towpath admin`: where values come from, and what is asked of the API."""

import io
import sys
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Towpath
from tests.unit.cli.fake_api import FakeApi, Told

SHOWN = {
    "name": "KEY", "created_by": 1, "created_at": "2026-01-01T00:00:00Z", "updated_by": 1,
    "updated_at": "2026-01-01T00:00:00Z",
}  # fmt: skip


def test_a_value_comes_from_a_file_and_is_never_printed(
    api: FakeApi, towpath: Towpath, tmp_path: Path
) -> None:
    (tmp_path / "value").write_text("first line\nsecond line\n\n")
    api.answer("PUT", "/repositories/7/secrets/KEY", Told(200, SHOWN))
    result = towpath("secrets", "set", "KEY", "--repository", "7", "--file", "value")
    assert (result.exit_code, api.asked[-1].body) == (0, {"value": "first line\nsecond line\n"})
    assert "first line" not in result.out + result.err


def test_a_value_comes_from_standard_input(
    api: FakeApi, towpath: Towpath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("piped value\n"))
    api.answer("PUT", "/repositories/7/secrets/KEY", Told(200, SHOWN))
    assert towpath("secrets", "set", "KEY", "-r", "7").exit_code == 0
    assert api.asked[-1].body == {"value": "piped value"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("set", "KEY"),
        ("set", "KEY", "a value"),
        ("set", "KEY", "-r", "7", "--installation"),
        ("set", "KEY", "-r", "7", "--allow", "8"),
        ("set", "KEY", "-r", "7", "--file", "missing"),
        ("list",),
        ("remove", "KEY"),
    ],
)
def test_a_command_that_does_not_say_whose_secret_asks_nothing(
    api: FakeApi, towpath: Towpath, arguments: tuple[str, ...]
) -> None:
    assert (towpath("secrets", *arguments).exit_code, api.asked) == (2, [])


@pytest.mark.parametrize("exists", [True, False])
def test_the_installations_secret_is_added_or_changed(
    api: FakeApi, towpath: Towpath, monkeypatch: pytest.MonkeyPatch, exists: bool
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("piped value"))
    found = [{**SHOWN, "repositories": []}] if exists else []
    api.answer("GET", "/secrets", Told(200, {"items": found, "next_cursor": None}))
    api.answer("POST", "/secrets", Told(201, SHOWN))
    api.answer("PUT", "/secrets/KEY", Told(200, SHOWN))
    assert towpath("secrets", "set", "KEY", "--installation", "--allow", "7").exit_code == 0
    name = {} if exists else {"name": "KEY"}
    assert api.asked[-1].body == {**name, "value": "piped value", "repositories": [7]}


def test_secrets_are_listed_and_removed(api: FakeApi, towpath: Towpath) -> None:
    api.answer("GET", "/repositories/7/secrets", Told(200, {"items": [SHOWN], "next_cursor": None}))
    api.answer("DELETE", "/repositories/7/secrets/KEY", Told(204, None))
    assert "KEY" in towpath("secrets", "list", "-r", "7").out
    assert "removed KEY" in towpath("secrets", "remove", "KEY", "-r", "7").out


def rotation(reencrypted: int, left: int, unreadable: tuple[str, ...] = ()) -> Told:
    counts = {"new": 5, **({"old": left} if left else {})}
    return Told(
        200,
        {
            "first_key": "new", "values_by_key": counts, "left": left, "reencrypted": reencrypted,
            "unreadable": list(unreadable),
        },
    )  # fmt: skip


def test_a_rotation_is_repeated_until_nothing_is_left(api: FakeApi, towpath: Towpath) -> None:
    api.answer("POST", "/encryption/rotate", rotation(3, 2), rotation(2, 0))
    result = towpath("admin", "rotate-key")
    assert (result.exit_code, len(api.asked)) == (0, 2)
    assert "re-encrypted 5 values with the key new" in result.out


def test_a_rotation_says_what_it_cannot_decrypt(api: FakeApi, towpath: Towpath) -> None:
    api.answer("POST", "/encryption/rotate", rotation(0, 1, ("secret_versions.value:3",)))
    result = towpath("admin", "rotate-key")
    assert result.exit_code == 1
    assert "secret_versions.value:3" in result.out + result.err
    assert "1 with old" in result.out + result.err
