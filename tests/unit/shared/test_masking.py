"""Tests of masking: no form of a secret remains, and all other text stays unchanged."""

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.masking import Masker, forms_of

TOKEN = b"ghp_Zm9v/+x=&y"
KEY = b"-----BEGIN KEY-----\nMIIEowIBAAKCAQEA7\nshort\n-----END KEY-----\n"

secrets = st.lists(
    st.binary(min_size=6, max_size=24).filter(lambda value: b"\n" not in value and b"\r" not in value),
    min_size=1,
    max_size=3,
)


@pytest.mark.parametrize(
    "printed",
    [
        TOKEN,
        base64.b64encode(TOKEN),
        base64.urlsafe_b64encode(TOKEN),
        base64.b64encode(b"x:" + TOKEN + b"!"),
        base64.b64encode(b"user:" + TOKEN),
        base64.b64encode(b"1234567890" + TOKEN + b"abcdefghij"),
        quote(TOKEN, safe="").encode(),
        quote_plus(TOKEN).encode(),
        json.dumps({"token": TOKEN.decode()}).encode(),
        b"https://x:" + TOKEN + b"@example.org",
    ],
)
def test_a_token_is_masked_however_it_is_printed(printed: bytes) -> None:
    masked = Masker([TOKEN]).mask(b"before " + printed + b" after\n")
    assert b"***" in masked
    assert masked.startswith(b"before ")
    assert masked.endswith(b" after\n")
    for form in forms_of(TOKEN):
        assert form not in masked


def test_of_a_value_of_several_lines_each_long_line_is_masked() -> None:
    assert Masker([KEY]).mask(b"MIIEowIBAAKCAQEA7\nshort\n") == b"***\nshort\n"


@pytest.mark.parametrize("value", [b"", b"12345", b"a\nb\nc", b"1234567\n1234567"])
def test_values_too_short_to_be_secrets_mask_nothing(value: bytes) -> None:
    assert forms_of(value) == set()
    assert Masker([value]).mask(b"1234567 12345 a\n") == b"1234567 12345 a\n"


def test_secrets_that_overlap_go_as_one() -> None:
    assert Masker([b"abcdefgh", b"efghijkl"]).mask(b"<abcdefghijkl>\n") == b"<***>\n"


def test_a_mask_that_completes_another_secret_takes_its_line() -> None:
    assert Masker([b"hunter22", b"***-tail"]).mask(b"a\nx hunter22-tail\nb\n") == b"a\n***\nb\n"


def test_json_with_escapes_is_masked() -> None:
    secret = 'pass"word\\<é>'
    text = (
        json.dumps({"a": secret}).encode()
        + b"\n"
        + json.dumps({"a": secret}, ensure_ascii=False).encode()
        + b"\n"
    )
    assert Masker([secret.encode()]).mask(text) == b'{"a": "***"}\n{"a": "***"}\n'


@given(secrets, st.lists(st.binary(max_size=20), max_size=6), st.data())
def test_no_form_of_a_secret_survives(values: list[bytes], noise: list[bytes], data: st.DataObject) -> None:
    forms = sorted({form for value in values for form in forms_of(value)})
    pieces = [data.draw(st.sampled_from(forms)) if data.draw(st.booleans()) else piece for piece in noise]
    text = b"".join(pieces)
    masked = Masker(values).mask(text)
    assert not [form for form in forms if form in masked]
    assert masked.count(b"\n") == text.count(b"\n")


@given(st.binary(max_size=200))
def test_without_secrets_every_byte_stays(text: bytes) -> None:
    assert Masker([]).mask(text) == text


@given(
    st.binary(min_size=6, max_size=12).filter(
        lambda value: len(value.splitlines()) == 1 and len(value.splitlines()[0]) >= 6
    ),
    st.binary(max_size=50),
)
def test_text_without_a_form_stays(value: bytes, text: bytes) -> None:
    masked = Masker([value]).mask(text)
    assert (masked == text) is not any(form in text for form in forms_of(value))
