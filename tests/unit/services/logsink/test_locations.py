"""Tests of the locations of logs, in the forms of `attempts.log_location` and of the kubelet."""

from pathlib import Path

import pytest

from services.logsink.locations import PodName, of_directory, parse

POD = PodName("builds", "tp-abc-1-x7f", "0b1c-22")


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("/srv/towpath/pods/a", Path("/srv/towpath/pods/a")),
        ("kubernetes:///builds/tp-abc-1-x7f/0b1c-22", POD),
        ("node:///builds/tp-abc-1-x7f/0b1c-22", POD),
        ("node:///builds/tp-abc-1-x7f", None),
        ("node:////a/b", None),
        ("ftp://x/y/z", None),
    ],
)
def test_a_location_names_a_place(location: str, place: Path | PodName | None) -> None:
    assert parse(location) == place


def test_a_pods_directory_and_its_location_name_one_another() -> None:
    assert of_directory(POD.directory) == POD
    assert parse(POD.node_location) == POD
    assert of_directory("kube-system_etcd") is None
