"""Tests of hostile text at a terminal: only colours are kept, and plain text stays unchanged."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.output import say_document
from cli.sanitize import in_columns, log_line, one_line

COLOUR = re.compile(r"\x1b\[[0-9;:]{0,64}m")
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")
TEXT = st.text(
    st.one_of(st.sampled_from("\x1b\x9b\x9d\x07\x90\\]_[PX^;0127mKHJ?\r\n\t \x00\x85"), st.characters()),
    max_size=200,
)


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("plain ünïcode 🚢", "plain ünïcode 🚢"),
        ("a\tb", "a\tb"),
        ("ends with CRLF\r\n", "ends with CRLF"),
        ("10%\r20%", "10% 20%"),
        ("\x1b]52;c;cm0gLXJmIC8=\x07after", "after"),
        ("\x1b]8;;javascript:alert(1)\x1b\\click\x1b]8;;\x1b\\", "click"),
        ("\x1b]0;title\x9cafter", "after"),
        ("\x9d0;title\x07after", "after"),
        ("\x1b[2J\x1b[1;1Hgone", "gone"),
        ("\x9b2Jgone", "gone"),
        ("\x1b[?1049hother screen", "other screen"),
        ("\x1b[>4;1mkeys", "keys"),
        ("\x1bcreset", "reset"),
        ("\x1bP1$r0m\x1b\\dcs", "dcs"),
        ("\x1b_apc\x1b\\after", "after"),
        ("beep\x07 null\x00 back\x08space \x7fdel \x85next", "beep null backspace del next"),
        ("\x1b[1234567890", "[1234567890"),
        ("\x1b]no end", "]no end"),
        ("\x1b", ""),
        ("\x1b\x1b[2K]0;x\x07", "]0;x"),
    ],
)
def test_sequences_are_cut_out(hostile: str, shown: str) -> None:
    assert log_line(hostile, coloured=True) == shown


def test_colours_are_kept_at_a_terminal_and_end_with_the_line() -> None:
    assert (
        log_line("\x1b[1;31mred\x1b[0m \x1b[38:2::1:2:3mrgb", coloured=True)
        == "\x1b[1;31mred\x1b[0m \x1b[38:2::1:2:3mrgb\x1b[0m"
    )


def test_colours_are_cut_out_where_there_is_no_terminal() -> None:
    assert log_line("\x1b[1;31mred\x1b[0m", coloured=False) == "red"


@given(TEXT)
def test_no_control_character_survives_but_in_colours(text: str) -> None:
    assert not CONTROL.search(COLOUR.sub("", log_line(text, coloured=True)))
    assert not CONTROL.search(log_line(text, coloured=False))
    assert not CONTROL.search(one_line(text))


@given(TEXT)
def test_what_is_inert_stays_as_it_is(text: str) -> None:
    once = log_line(text, coloured=False)
    assert log_line(once, coloured=False) == once
    assert one_line(one_line(text)) == one_line(text)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Cf", "Zl", "Zp"]), max_size=100))
def test_plain_text_is_left_alone(text: str) -> None:
    assert log_line(text, coloured=True) == text
    assert one_line(text) == text.strip()


def test_a_name_is_one_line_and_does_not_turn_the_direction_of_writing() -> None:
    assert one_line("main\n\x1b[31m\u202egnp.exe\u2066\t x ") == r"main \u202egnp.exe\u2066  x"


HIDDEN = [
    "\u061c",
    "\u200b",
    "\u200e",
    "\u200f",
    *map(chr, range(0x2028, 0x202F)),
    "\u2060",
    *map(chr, range(0x2066, 0x206A)),
    "\ufeff",
    "\U000e0041",
]


@pytest.mark.parametrize("sign", HIDDEN, ids=ascii)
def test_x13_characters_that_hide_or_reorder_text_are_shown_as_escapes(sign: str) -> None:
    escape = ascii(sign)[1:-1]
    for shown in (
        log_line(f"a{sign}b", coloured=True),
        log_line(f"a{sign}b", coloured=False),
        one_line(f"a{sign}b"),
        in_columns(f"a{sign}b"),
    ):
        assert shown == f"a{escape}b"


@pytest.mark.parametrize("text", ["שלום", "क्\u200dष", "👩\u200d🚀", "می\u200cشود", "é"])
def test_x13_writing_that_needs_joiners_or_runs_to_the_left_stays(text: str) -> None:
    assert one_line(text) == log_line(text, coloured=True) == text


@pytest.mark.parametrize("part", ["\x1b]", "\x9d", "\x1b[", "\x9b1;", "\x1b[1;31", "\x90\x1b"])
def test_a_long_hostile_line_takes_no_long_time(part: str) -> None:
    assert "\x1b" not in log_line(part * 20_000, coloured=False)


@pytest.mark.parametrize(
    ("terminal", "shown"), [(True, "name: a\\u202eb\n\tc"), (False, "name: a\u202eb\n\tc")]
)
def test_x13_a_stored_pipeline_is_exact_in_a_pipe_and_harmless_at_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], terminal: bool, shown: str
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal)
    say_document("name: a\u202eb\n\tc")
    assert capsys.readouterr().out == f"{shown}\n"
