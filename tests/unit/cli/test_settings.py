"""Tests of the command's settings: the API's address and the token."""

import pytest

from cli.errors import NO_API, NotConfigured
from cli.settings import Settings, settings_from

FILE = {"TOWPATH_URL": "http://127.0.0.1:8420", "TOWPATH_TOKEN": "tp_file"}


def test_the_file_serves_where_the_environment_says_nothing() -> None:
    assert settings_from({}, FILE) == Settings("http://127.0.0.1:8420", "tp_file")


def test_the_environment_counts_before_the_file() -> None:
    assert settings_from({"TOWPATH_TOKEN": "tp_mine"}, FILE) == Settings("http://127.0.0.1:8420", "tp_mine")


def test_the_files_token_is_never_sent_to_another_address() -> None:
    with pytest.raises(NotConfigured, match="TOWPATH_TOKEN"):
        settings_from({"TOWPATH_URL": "https://elsewhere.example.org"}, FILE)


def test_a_slash_at_the_end_is_no_part_of_the_address() -> None:
    assert (
        settings_from({"TOWPATH_URL": "https://ci.example.org/", "TOWPATH_TOKEN": "tp_a"}, {}).url
        == "https://ci.example.org"
    )


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"TOWPATH_URL": "http://x"},
        {"TOWPATH_TOKEN": "tp_a"},
        {"TOWPATH_URL": "ftp://x", "TOWPATH_TOKEN": "tp_a"},
        {"TOWPATH_URL": "file:///etc/passwd", "TOWPATH_TOKEN": "tp_a"},
        {"TOWPATH_URL": "http://", "TOWPATH_TOKEN": "tp_a"},
        {"TOWPATH_URL": "http://x", "TOWPATH_TOKEN": "tp_\n"},
        {"TOWPATH_URL": "http://x", "TOWPATH_TOKEN": "tp_é"},
    ],
)
def test_what_cannot_work_is_said_with_what_to_do(values: dict[str, str]) -> None:
    with pytest.raises(NotConfigured) as refused:
        settings_from(values, {})
    assert refused.value.fix
    assert refused.value.exit_code == NO_API
