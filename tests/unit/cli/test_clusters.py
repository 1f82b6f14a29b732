"""`towpath clusters`."""

import json

from tests.unit.cli.conftest import Towpath
from tests.unit.cli.fake_api import FakeApi, Told


def test_clusters_are_shown_with_their_labels(api: FakeApi, towpath: Towpath) -> None:
    cluster = {
        "name": "paris",
        "labels": {"region": "eu", "arch": "arm64"},
        "registered_at": "2026-01-01T00:00:00.000000Z",
        "seen_at": "2026-01-02T00:00:00.000000Z",
    }
    api.answer("GET", "/clusters", Told(200, {"items": [cluster]}))
    assert "paris    region=eu, arch=arm64" in towpath("clusters").out
    assert json.loads(towpath("clusters", "--json").out) == {"items": [cluster]}


def test_an_installation_without_an_executor_is_told_so(api: FakeApi, towpath: Towpath) -> None:
    api.answer("GET", "/clusters", Told(200, {"items": []}))
    assert "no executor has registered one" in towpath("clusters").out
