"""Tests of signatures: one accepted spelling, over the raw bytes, with any of the secrets."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.webhooks.signatures import claimed_signature, is_signed

# https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
SECRET = b"It's a Secret to Everybody"
BODY = b"Hello, World!"
DIGITS = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


def test_githubs_published_example_is_right() -> None:
    assert is_signed(BODY, DIGITS, [SECRET])


def test_any_of_several_secrets_will_do_and_none_never_does() -> None:
    assert is_signed(BODY, DIGITS, [b"another", SECRET])
    assert not is_signed(BODY, DIGITS, [b"another"])
    assert not is_signed(BODY, DIGITS, [])


@given(st.binary(max_size=200), st.binary(min_size=1, max_size=40), st.integers(min_value=0, max_value=1599))
def test_a_changed_bit_breaks_it(body: bytes, secret: bytes, bit: int) -> None:
    digits = hmac.new(secret, body, hashlib.sha256).hexdigest()
    assert is_signed(body, digits, [secret])
    if bit < 8 * len(body):
        changed = bytearray(body)
        changed[bit // 8] ^= 1 << bit % 8
        assert not is_signed(bytes(changed), digits, [secret])


@given(st.text())
def test_no_text_is_more_than_a_wrong_signature(text: str) -> None:
    assert not is_signed(BODY, text, [SECRET])


@pytest.mark.parametrize(
    ("plain", "prefixed", "claimed"),
    [
        ([], [f"sha256={DIGITS}"], DIGITS),
        ([DIGITS], [], DIGITS),
        ([DIGITS], ["sha256=" + "0" * 64], DIGITS),
        ([], [], None),
        ([], [""], None),
        ([], [DIGITS], None),
        ([], [f"sha1={DIGITS[:40]}"], None),
        ([], [f"SHA256={DIGITS}"], None),
        ([], [f"sha256={DIGITS.upper()}"], None),
        ([], [f"sha256= {DIGITS}"], None),
        ([], [f"sha256={DIGITS}0"], None),
        ([], [f"sha256={DIGITS[:-1]}"], None),
        ([], [f"sha256={DIGITS}"] * 2, None),
        ([DIGITS, DIGITS], [], None),
        ([DIGITS.upper()], [f"sha256={DIGITS}"], None),
        ([], ["sha256=" + "é" * 64], None),
        ([], ["sha256=" + "\udcff" * 64], None),
    ],
)
def test_a_signature_has_one_spelling(plain: list[str], prefixed: list[str], claimed: str | None) -> None:
    assert claimed_signature(plain, prefixed) == claimed
