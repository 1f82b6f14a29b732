"""Tests of webhook forms, as browsers and forges write them."""

from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import forms


@given(st.text(min_size=1))
def test_a16_any_payload_comes_back(text: str) -> None:
    form = urlencode({"payload": text}, errors="surrogatepass").encode()
    assert forms.payload(form) == text.encode(errors="surrogatepass")


@given(st.text(alphabet="%+=& \r\n\t_.~3Dd0aZ", max_size=40))
def test_a16_it_reads_what_the_library_reads(text: str) -> None:
    form = f"payload={text}"
    try:
        found = forms.payload(form.encode()).decode(errors="replace")
    except ValueError:
        return
    assert [found] == parse_qs(form)["payload"]


@pytest.mark.parametrize(
    ("form", "payload"),
    [
        (b"payload=a+b%2Bc%0A%C3%BC", "a b+c\nü"),
        (b"x=1&p%61yload=%7B%7D&y=", "{}"),
        (b"payload=a=b", "a=b"),
        (b"payload=%3d%3D0A", "==0A"),
        (b"payload=a%20%0Ab %0D%0A", "a \nb \r\n"),
        (b"payload=a_b.~*", "a_b.~*"),
    ],
)
def test_a16_a_payload_is_found_and_decoded(form: bytes, payload: str) -> None:
    assert forms.payload(form).decode() == payload


@pytest.mark.parametrize("form", [b"", b"payload", b"payload=", b"a=b", b"payload=1&payload=2"])
def test_a16_a_form_without_one_payload_has_none(form: bytes) -> None:
    with pytest.raises(forms.NoPayload):
        forms.payload(form)


@pytest.mark.parametrize(
    ("form", "why"),
    [
        (b"payload=%", "percent sign"),
        (b"payload=%2", "percent sign"),
        (b"payload=%zz", "percent sign"),
        (b"payload=\xff", "ASCII"),
        (b"&" * 16 + b"payload=1", "16 fields"),
    ],
)
def test_a16_what_is_no_form_is_refused(form: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        forms.payload(form)


def test_a16_a_fully_escaped_payload_fits_into_the_largest_form() -> None:
    assert len(b"payload=" + b"%00" * 1000) <= forms.largest_form(1000)
