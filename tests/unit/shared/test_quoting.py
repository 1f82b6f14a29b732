"""Tests of foreign text in sentences: it stays short and printable."""

from hypothesis import given
from hypothesis import strategies as st

from shared.quoting import listed, shown


@given(st.text())
def test_any_text_can_be_shown(text: str) -> None:
    assert len(shown(text)) <= 82
    assert shown(text).isprintable()


def test_x13_what_reorders_text_is_shown_as_an_escape() -> None:
    assert shown("main\u202e\u2028x") == r"`main\u202e\u2028x`"
    assert shown("\u202e" * 80) == "`" + r"\u202e" * 13 + "…`"


def test_a_long_list_says_how_many_more() -> None:
    assert listed(["a", "b"]) == "`a`, `b`"
    assert listed([str(n) for n in range(13)]).endswith("`9` and 3 more")
