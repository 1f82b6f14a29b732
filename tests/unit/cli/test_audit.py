"""Tests of `towpath audit`."""

from typing import Any

from tests.unit.cli.conftest import Towpath
from tests.unit.cli.fake_api import FakeApi, Told

ENTRY: dict[str, Any] = {
    "id": 9, "at": "2026-11-23T12:00:00.000000Z", "user_id": 3, "user": "Mona\x1b[31m",
    "action": "pipeline.changed", "object": "pipeline:12", "details": {"enabled": [True, False]},
    "token_id": 4, "address": "10.0.0.7", "trace_id": None,
}  # fmt: skip


def test_entries_are_listed_with_filters(api: FakeApi, towpath: Towpath) -> None:
    forge = {**ENTRY, "user_id": None, "user": None, "details": {}}
    api.answer("GET", "/audit", Told(body={"items": [ENTRY, forge], "next_cursor": None}))
    result = towpath("audit", "--user", "3", "--action", "pipeline", "--object", "pipeline:12")
    wanted = {"user_id": "3", "action": "pipeline", "object": "pipeline:12"}
    assert wanted.items() <= api.asked[0].query.items()
    first, second = result.out.splitlines()[1:]
    assert '{"enabled": [true, false]}' in first
    assert "\x1b" not in first
    assert second.split()[2] == "-"
