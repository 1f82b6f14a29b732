"""Tests of secrets and tokens.

A secret can be opened only in its own place and with an existing key. The checksum in a token shows whether
it is well-formed.
"""

import base64
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.crypto import (
    DecryptionFailed,
    Keyring,
    KeyringInvalid,
    hash_token,
    new_token,
    token_is_wellformed,
)

OLD = bytes(range(32))
NEW = bytes(range(32, 64))
PLACE = {"table": "repositories", "column": "webhook_secret", "row": "abc"}


def line(key_id: str, key: bytes) -> str:
    return f"{key_id}:{base64.b64encode(key).decode()}"


@given(st.binary(max_size=500))
def test_a_secret_comes_back_as_it_was(secret: bytes) -> None:
    ring = Keyring({"a": OLD})
    assert ring.decrypt(ring.encrypt(secret, **PLACE), **PLACE) == secret


def test_nothing_of_a_secret_can_be_seen_in_what_is_stored() -> None:
    ring = Keyring({"a": OLD})
    stored = ring.encrypt(b"hunter2hunter2", **PLACE)
    assert b"hunter2" not in stored
    assert stored != ring.encrypt(b"hunter2hunter2", **PLACE)


@pytest.mark.parametrize("other", [{"table": "users"}, {"column": "clone_token"}, {"row": "abd"}])
def test_a_secret_copied_elsewhere_does_not_open(other: dict[str, str]) -> None:
    ring = Keyring({"a": OLD})
    with pytest.raises(DecryptionFailed):
        ring.decrypt(ring.encrypt(b"s", **PLACE), **(PLACE | other))


def test_after_a_rotation_the_new_key_encrypts_and_both_decrypt() -> None:
    before, after = Keyring({"old": OLD}), Keyring({"new": NEW, "old": OLD})
    assert after.decrypt(before.encrypt(b"s", **PLACE), **PLACE) == b"s"
    assert after.encrypt(b"s", **PLACE).startswith(b"new:")
    with pytest.raises(DecryptionFailed, match="not in the key file"):
        before.decrypt(after.encrypt(b"s", **PLACE), **PLACE)


@pytest.mark.parametrize("damage", [b"", b"a", b"a:", b"a:short", b"\xff:x", b"a:" + bytes(40)])
def test_a_damaged_value_does_not_open(damage: bytes) -> None:
    with pytest.raises(DecryptionFailed):
        Keyring({"a": OLD}).decrypt(damage, **PLACE)


def test_the_first_key_of_the_file_encrypts(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"{line('new', NEW)}\n\n{line('old', OLD)}\n")
    assert Keyring.from_file(path).encrypt(b"s", **PLACE).startswith(b"new:")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        "a",
        "a:",
        "a:not base64!",
        line("a", OLD[:16]),
        line("A", OLD),
        line("", OLD),
        line("a" * 17, OLD),
        f"{line('a', OLD)}\n{line('a', NEW)}",
        "é:AAAA",
    ],
)
def test_a_bad_key_file_is_refused_without_telling_its_keys(tmp_path: Path, text: str) -> None:
    path = tmp_path / "keys"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(KeyringInvalid) as refused:
        Keyring.from_file(path)
    assert base64.b64encode(OLD).decode() not in str(refused.value)


def test_a_new_token_is_wellformed_and_never_the_same() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(token_is_wellformed(token) and len(token) == 39 for token in tokens)


@given(st.integers(3, 38), st.sampled_from("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"))
def test_one_wrong_letter_is_noticed(position: int, letter: str) -> None:
    token = new_token()
    changed = token[:position] + letter + token[position + 1 :]
    assert token_is_wellformed(changed) == (changed == token)


@pytest.mark.parametrize(
    "token", ["", "tp_", "x" * 39, "tp_" + "0" * 36 + "0", "tp_" + "0" * 1_000_000, "tp_" + "é" * 36]
)
def test_what_is_no_token_needs_no_look_up(token: str) -> None:
    assert not token_is_wellformed(token)


@given(st.text(max_size=60))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    assert not token_is_wellformed(text)


def test_a_line_feed_behind_a_token_is_not_forgiven() -> None:
    assert not token_is_wellformed(new_token() + "\n")


def test_what_is_stored_of_a_token_is_its_sha256() -> None:
    assert hash_token("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
