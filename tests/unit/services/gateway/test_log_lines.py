"""Tests of log positions, which are read back from their text, and of the division of segments into lines."""

from hypothesis import given
from hypothesis import strategies as st

from services.gateway.logs.log_lines import (
    Chunk,
    Marked,
    Said,
    chunk_of,
    positions_text,
    read_positions,
    shown,
)
from shared import step_markers
from shared.step_markers import StepBegin, StepEnd

NONCE = step_markers.nonce("token")
NUMBERS = st.integers(min_value=0, max_value=10**17)


@given(st.dictionaries(NUMBERS, NUMBERS, max_size=20))
def test_positions_are_read_as_they_were_written(positions: dict[int, int]) -> None:
    assert read_positions(positions_text(positions)) == positions


@given(st.text())
def test_no_text_surprises_the_reader(text: str) -> None:
    positions = read_positions(text)
    assert positions is None or all(stream >= 0 and line >= 0 for stream, line in positions.items())


def test_too_much_is_no_position() -> None:
    assert read_positions(",".join(f"{number}:1" for number in range(1001))) is None
    assert read_positions("1:1," * 100_000) is None


@given(
    st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b"")), min_size=1, max_size=20),
    st.booleans(),
    st.integers(1, 30),
)
def test_from_any_line_on_the_rest_is_shown(lines: list[bytes], has_last_feed: bool, from_line: int) -> None:
    if not has_last_feed and not lines[-1]:
        lines[-1] = b"x"
    raw = b"\n".join(lines) + (b"\n" if has_last_feed else b"")
    chunk = chunk_of(5, raw)
    assert chunk == Chunk(5, tuple(lines))
    told = shown(chunk, from_line, NONCE)
    rest = lines[max(0, from_line - 5) :]
    assert told == (
        [Said(max(5, from_line), tuple(line.decode("utf-8", "replace") for line in rest), 5 + len(lines))]
        if rest
        else []
    )


def test_marks_of_steps_stand_between_the_lines() -> None:
    begin = step_markers.begin(NONCE, 1, "pytest")
    raw = f"{begin}\nhello\nno feed::towpath-{NONCE}::end 1 3\nafter\n".encode()
    assert shown(chunk_of(10, raw), 1, NONCE) == [
        Marked(10, StepBegin(1, "pytest")),
        Said(11, ("hello", "no feed"), 12),
        Marked(12, StepEnd(1, 3)),
        Said(13, ("after",), 14),
    ]


def test_a_mark_with_another_nonce_is_a_line() -> None:
    assert shown(chunk_of(1, b"::towpath-0000::end 1 0\n"), 1, NONCE) == [
        Said(1, ("::towpath-0000::end 1 0",), 2)
    ]
