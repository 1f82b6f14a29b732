"""The masker of a stream has exactly the secrets of its attempt."""

import base64
from dataclasses import replace

import pytest

from services.logsink.opening import masker_of
from services.logsink.segments import Position
from services.logsink.sink import StreamUnreadable
from services.logsink.store import Stream
from shared.crypto import Keyring

KEYRING = Keyring({"first": b"k" * 32})
STREAM = Stream(1, 1, 1, "job", 1, "/x", "local", "t", 1, 1, None, None, None, Position())


def version(number: int, value: bytes) -> bytes:
    return KEYRING.encrypt(value, table="secret_versions", column="value", row=number)


def test_pinned_versions_are_masked() -> None:
    values = [version(3, b"third-value"), version(7, b"seventh-value")]
    masker = masker_of(replace(STREAM, secret_versions=[7, 3], secret_values=values), KEYRING)
    line = b"third-value seventh-value " + base64.b64encode(b"third-value")
    assert b"value" not in masker.mask(line)


@pytest.mark.parametrize("values", [[], [version(3, b"third-value")], [version(4, b"x"), version(7, b"y")]])
def test_a_log_that_cannot_be_masked_is_not_read(values: list[bytes]) -> None:
    with pytest.raises(StreamUnreadable):
        masker_of(replace(STREAM, secret_versions=[3, 7], secret_values=values), KEYRING)


def test_a_stream_with_secrets_needs_keys() -> None:
    stream = replace(STREAM, secret_versions=[3], secret_values=[version(3, b"third-value")])
    with pytest.raises(StreamUnreadable):
        masker_of(stream, None)
