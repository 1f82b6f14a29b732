"""Tests of the pushes for load: valid signatures over different bodies, of nearly the size of GitHub's."""

import hashlib
import hmac
import json

from hypothesis import given
from hypothesis import strategies as st

from bench.pushes import BODY_BYTES, Series

SERIES = Series("bench/quiet", 101, "a secret", seed="one")
NUMBERS = st.integers(min_value=0, max_value=10**6)


@given(number=NUMBERS)
def test_a_push_is_signed_over_its_whole_body(number: int) -> None:
    headers = SERIES.headers(number, SERIES.end(number))
    for name, algorithm in (("X-Hub-Signature", hashlib.sha1), ("X-Hub-Signature-256", hashlib.sha256)):
        kind, _, digest = headers[name].partition("=")
        assert (kind, digest) == (
            algorithm().name,
            hmac.new(b"a secret", SERIES.body(number), algorithm).hexdigest(),
        )


@given(number=NUMBERS)
def test_a_push_follows_the_one_before_it(number: int) -> None:
    push, before = json.loads(SERIES.body(number + 1)), json.loads(SERIES.body(number))
    assert push["before"] == before["after"] == SERIES.sha(number)
    assert push["head_commit"]["id"] == push["commits"][0]["id"] == push["after"]
    assert push["repository"]["pushed_at"] == before["repository"]["pushed_at"] + 1


@given(numbers=st.lists(NUMBERS, unique=True, min_size=2))
def test_pushes_differ_in_body_and_delivery_id(numbers: list[int]) -> None:
    assert len({SERIES.body(number) for number in numbers}) == len(numbers)
    assert len({SERIES.headers(number, b"")["X-GitHub-Delivery"] for number in numbers}) == len(numbers)


def test_series_of_other_seeds_share_no_push() -> None:
    other = Series("bench/quiet", 101, "a secret", seed="two")
    assert {SERIES.sha(number) for number in range(100)}.isdisjoint(
        other.sha(number) for number in range(100)
    )


@given(number=NUMBERS)
def test_a_body_has_the_size_asked_for_but_for_longer_numbers(number: int) -> None:
    assert BODY_BYTES <= len(SERIES.body(number)) <= BODY_BYTES + 20
