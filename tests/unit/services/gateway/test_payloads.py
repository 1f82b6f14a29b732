"""Tests that the webhook of one repository can't send deliveries of another."""

from urllib.parse import urlencode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.webhooks.hook_secrets import Hook
from services.gateway.webhooks.payloads import speaks_for_another
from shared.forms import CONTENT_TYPE as FORM

KNOWN = Hook("github", 42, "octo/web", b"s")
UNKNOWN_ID = Hook("github", None, "octo/web", b"s")


@pytest.mark.parametrize(
    ("repository", "hook", "another"),
    [
        ({"id": 42, "full_name": "octo/web"}, KNOWN, False),
        ({"id": 42, "full_name": "octo/renamed"}, KNOWN, False),
        ({"id": 43, "full_name": "octo/web"}, KNOWN, True),
        ({"id": "42", "full_name": "octo/web"}, KNOWN, False),
        ({"full_name": "octo/web"}, KNOWN, False),
        ({"full_name": "octo/other"}, KNOWN, True),
        ({"id": 7, "full_name": "Octo/Web"}, UNKNOWN_ID, False),
        ({"id": 7, "full_name": "octo/other"}, UNKNOWN_ID, True),
        ({"id": 7, "full_name": None}, UNKNOWN_ID, True),
        ({}, UNKNOWN_ID, True),
        (None, KNOWN, False),
        ("octo/other", KNOWN, False),
    ],
)
def test_who_a_body_speaks_for(repository: object, hook: Hook, another: bool) -> None:
    body = orjson.dumps({"repository": repository})
    assert speaks_for_another(body, "application/json", hook) is another
    assert speaks_for_another(urlencode({"payload": body.decode()}).encode(), FORM, hook) is another


@given(st.binary(max_size=300), st.sampled_from(["application/json", FORM]))
def test_no_body_surprises_it(body: bytes, content_type: str) -> None:
    assert speaks_for_another(body, content_type, KNOWN) in {True, False}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b"[" * 100_000,
        b"null",
        b"[1]",
        b'{"repository": [1]}',
        b"\xff",
        b"payload=%7B%7D&payload=%7B%7D",
    ],
)
def test_what_cannot_be_read_speaks_for_nobody(body: bytes) -> None:
    assert speaks_for_another(body, "application/json", KNOWN) is False
    assert speaks_for_another(body, FORM, KNOWN) is False
