"""Foreign text in sentences stays short and printable."""

from hypothesis import given
from hypothesis import strategies as st

from services.scheduler.wording import listed, shown


@given(st.text())
def test_any_text_can_be_shown(text: str) -> None:
    assert len(shown(text)) <= 82
    assert shown(text).isprintable()


def test_a_long_list_says_how_many_more() -> None:
    assert listed(["a", "b"]) == "`a`, `b`"
    assert listed([str(n) for n in range(13)]).endswith("`9` and 3 more")
