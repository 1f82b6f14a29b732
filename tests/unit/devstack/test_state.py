"""Tests of a stack's files (created once, private, read back as written) and of database URLs."""

import base64
import shlex
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devstack.databases import installation_name, with_database
from devstack.places import kept_secret, own_directory
from devstack.state import key_file, read_environment, write_environment

NAMES = st.from_regex(r"TOWPATH_[A-Z]{1,8}", fullmatch=True)
VALUES = st.text(
    st.characters(codec="utf-8", exclude_characters="\n\r\0\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), max_size=30
)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = key_file(tmp_path)
    identifier, _, key = path.read_text().strip().partition(":")
    assert identifier == "1"
    assert len(base64.b64decode(key, validate=True)) == 32
    assert mode(path) == 0o600
    before = path.read_text()
    assert key_file(tmp_path).read_text() == before


@given(st.dictionaries(NAMES, VALUES, max_size=5))
def test_the_environment_file_is_read_back_as_written(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, str]
) -> None:
    path = tmp_path_factory.getbasetemp() / "env"
    write_environment(path, values)
    assert read_environment(path) == values
    assert mode(path) == 0o600


def test_a_shell_reads_the_environment_file_and_exports_it(tmp_path: Path) -> None:
    path = tmp_path / "env"
    value = 'it\'s a "secret" $HOME `date`'
    write_environment(path, {"TOWPATH_TOKEN": value})
    script = f". {shlex.quote(str(path))}; printenv TOWPATH_TOKEN"
    assert (
        subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
        == value + "\n"
    )


def test_no_environment_file_is_no_variables(tmp_path: Path) -> None:
    assert read_environment(tmp_path / "env") == {}


def test_a_password_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "password"
    assert kept_secret(path) == kept_secret(path)
    assert len(kept_secret(path)) == 32
    assert mode(path) == 0o600
    assert kept_secret(tmp_path / "another") != kept_secret(path)


def test_a_private_directory_keeps_its_contents(tmp_path: Path) -> None:
    own_directory(tmp_path / "d", None)
    (tmp_path / "d" / "file").write_text("x")
    assert mode(own_directory(tmp_path / "d", None)) == 0o700
    assert (tmp_path / "d" / "file").read_text() == "x"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("postgresql://u:p@127.0.0.1:5432/postgres", "postgresql://u:p@127.0.0.1:5432/x"),
        ("postgresql://u:p@127.0.0.1:5432", "postgresql://u:p@127.0.0.1:5432/x"),
        ("postgres://h/a?sslmode=require", "postgres://h/x?sslmode=require"),
    ],
)
def test_another_database_of_the_same_server(url: str, expected: str) -> None:
    assert with_database(url, "x") == expected


def test_installations_have_names_of_their_own() -> None:
    names = {installation_name() for _ in range(50)}
    assert len(names) == 50
    assert all(len(name) == 8 and set(name) <= set("abcdefghijklmnopqrstuvwxyz234567") for name in names)
