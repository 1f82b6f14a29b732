"""Tests of the responses of the log API.

Every line is taken once and in order, even if responses are cut, repeated or incomplete. Otherwise there is a
gap.
"""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.logsink.api_log import Answer, Broken, Mode, Piece, Tail
from shared.masking import Masker
from tests.fakes.pod_directory import stamp

NOW = 1_795_435_200.0 + 3600
"""An hour after the first stamp."""
NO_MASK = Masker([])


def answered(*lines: tuple[int, bytes]) -> bytes:
    """Return these (microsecond, line) pairs as the API sends them."""
    return b"".join(stamp(at) + b" " + line + b"\n" for at, line in lines)


def text_of(pieces: list[Piece]) -> bytes:
    return b"".join(piece.lines.text for piece in pieces)


def tail_after(data: bytes) -> Tail:
    return Answer(NO_MASK, None).feed(data, NOW)[-1].tail


@pytest.mark.parametrize("limit", [4096, 1 << 20])
@pytest.mark.parametrize("chunk", [1 << 16, 4 << 20])
def test_a13_lines_are_cut_at_the_length_that_is_set(limit: int, chunk: int) -> None:
    answer = Answer(NO_MASK, None, longest_line_bytes=limit)
    data = answered((0, b"x" * (limit - 1)), (1, b"y" * limit), (2, b"z" * (2 << 20)), (3, b"after"))
    pieces = [piece for at in range(0, len(data), chunk) for piece in answer.feed(data[at : at + chunk], NOW)]
    whole, *cut, after = text_of(pieces).splitlines()
    assert (whole, after) == (b"x" * (limit - 1), b"after")
    assert [line[:1] for line in cut] == [b"y", b"z"]
    assert all(len(line) < limit and line.endswith(b" bytes]") for line in cut)


def second(number: int, line: bytes) -> bytes:
    return answered((number * 1_000_000, line))


@dataclass
class Reading:
    """The stored part of a log that is read in many responses."""

    text: bytes = b""
    tail: Tail | None = None
    mode: Mode = Mode.SEEK
    gaps: list[str] = field(default_factory=list)

    def read(self, log: bytes, upto: int, chunks: int) -> Broken | None:
        """Read this many bytes of the log in chunks of this size, then cut the connection."""
        answer = Answer(NO_MASK, self.tail, self.mode)
        for at in range(0, upto, chunks):
            for piece in answer.feed(log[at : min(at + chunks, upto)], NOW):
                self.text += piece.lines.text
                self.tail, self.mode = piece.tail, Mode.SEEK
        if upto == len(log):
            answer.end()
        return answer.broken


lines = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from([b"", b"a", b"b", b"a b", b"2026-11-23T12:00:00Z x", b"\x00\xff\r", b"long" * 20]),
    ),
    min_size=1,
    max_size=30,
)


def log_of(drawn: list[tuple[int, bytes]]) -> bytes:
    """Return a log whose lines are 0 to 2 microseconds apart. Some lines have the same time and text."""
    at, made = 0, []
    for step, line in drawn:
        at += step
        made.append((at, line))
    return answered(*made)


@given(lines, st.lists(st.tuples(st.floats(0, 1), st.integers(1, 50)), max_size=6))
def test_every_line_once_however_often_the_connection_is_cut(
    drawn: list[tuple[int, bytes]], cuts: list[tuple[float, int]]
) -> None:
    log = log_of(drawn)
    reading = Reading()
    for part, chunk in cuts:
        assert reading.read(log, int(len(log) * part), chunk) is None
    assert reading.read(log, len(log), 1000) is None
    assert reading.text == b"".join(line + b"\n" for _, line in drawn)


@given(lines, st.integers(0, 29), st.integers(0, 29))
def test_an_answer_without_the_tail_is_never_taken_for_one_that_follows_it(
    drawn: list[tuple[int, bytes]], stored: int, begins: int
) -> None:
    """If the newest file begins after the stored lines, this is reported.

    Otherwise reading continues at the right place.
    """
    whole = [(number * 3 + step, line) for number, (step, line) in enumerate(drawn)]
    stored, begins = min(stored, len(whole) - 1), min(begins, len(whole) - 1)
    reading = Reading()
    reading.read(answered(*whole[: stored + 1]), 10**6, 1000)
    before = reading.text
    broken = reading.read(answered(*whole[begins:]), len(answered(*whole[begins:])), 1000)
    if begins > stored:
        assert (broken, reading.text) == (Broken.TAIL_MISSING, before)
    else:
        assert broken is None
        assert reading.text == b"".join(line + b"\n" for _, line in whole)


def test_after_a_gap_all_is_taken_but_what_is_recognised_in_order() -> None:
    tail = tail_after(answered((1, b"one"), (2, b"two"), (3, b"lost in a crash")))
    answer = Answer(NO_MASK, tail, Mode.SKIP)
    assert (
        text_of(answer.feed(answered((1, b"one"), (2, b"two"), (4, b"new"), (5, b"one")), NOW))
        == b"new\none\n"
    )


def test_a_tail_is_the_same_however_the_lines_came() -> None:
    data = answered(*((number // 3, b"x") for number in range(200)))
    whole = tail_after(data)
    answer = Answer(NO_MASK, None)
    pieces = [piece for at in range(0, len(data), 7) for piece in answer.feed(data[at : at + 7], NOW)]
    assert pieces[-1].tail == whole


def test_equal_lines_of_one_time_are_told_apart() -> None:
    log = answered(*[(1, b"y")] * 500)
    reading = Reading()
    reading.read(log, len(log) // 2, 10_000)
    reading.read(log, len(log), 10_000)
    assert reading.text == b"y\n" * 500


def test_a_line_of_20_mib_is_cut_and_recognised() -> None:
    log = answered((1, b"one"), (2, b"x" * (20 << 20)), (3, b"three"))
    reading = Reading()
    reading.read(log, len(log) - 5, 100_000)
    assert reading.text.count(b"\n") == 2
    reading.read(log, len(log), 70_000)
    one, two, three, end = reading.text.split(b"\n")
    assert (one, three, end) == (b"one", b"three", b"")
    assert two.endswith(
        f"…[truncated, {(20 << 20) - (len(two) - two[::-1].index('…'.encode()[::-1]) - 3)} bytes]".encode()
    )


def test_a_secret_at_the_cut_of_a_long_line_is_masked_whole() -> None:
    masker = Masker([b"s3cr3t-value"])
    answer = Answer(masker, None)
    text = text_of(answer.feed(answered((1, b"x" * 65_468 + b"s3cr3t-value" + b"y" * 400_000)), NOW))
    assert b"s3cr" not in text
    assert b"***" in text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"unable to retrieve container logs for containerd://c", b""),
        (b"failed to try resolving symlinks\n", b""),
        (answered((1, b"one")) + b"failed to watch\n" + answered((2, b"two")), b"one\n"),
        (b"2026-11-2", b""),
    ],
)
def test_text_without_a_time_is_no_log_text(data: bytes, text: bytes) -> None:
    answer = Answer(NO_MASK, None)
    assert text_of(answer.feed(data, NOW)) == text
    answer.end()
    assert answer.broken is Broken.NO_LOG_TEXT
    assert answer.failure


def test_the_end_of_a_line_that_began_before_is_passed_over() -> None:
    tail = tail_after(answered((1, b"one")))
    answer = Answer(NO_MASK, tail)
    assert text_of(answer.feed(b"end of an old line\n" + answered((1, b"one"), (2, b"two")), NOW)) == b"two\n"
    answer.end()
    assert answer.broken is None


def test_an_error_instead_of_the_tail_is_no_gap() -> None:
    answer = Answer(NO_MASK, tail_after(answered((1, b"one"))))
    answer.feed(b"unable to retrieve container logs\n", NOW)
    answer.end()
    assert answer.broken is Broken.NO_LOG_TEXT


def test_the_last_line_may_lack_its_line_feed() -> None:
    answer = Answer(NO_MASK, None)
    answer.feed(answered((1, b"one")) + stamp(2) + b" two", NOW)
    answer.end()
    assert (answer.broken, answer.rest().text) == (None, b"two")


def test_lines_again_from_an_earlier_second_are_not_taken() -> None:
    answer = Answer(NO_MASK, None)
    first = second(10, b"one") + second(20, b"two")
    assert text_of(answer.feed(first + first, NOW)) == b"one\ntwo\n"
    assert answer.broken is Broken.WENT_BACK


def test_two_streams_of_one_container_may_be_out_of_order_by_a_little() -> None:
    answer = Answer(NO_MASK, None)
    assert (
        text_of(answer.feed(answered((2_000_000, b"out"), (1_500_000, b"err"), (2_100_000, b"out")), NOW))
        == b"out\nerr\nout\n"
    )
    assert answer.broken is None


def test_a_clock_that_was_set_back_is_followed_when_the_tail_was_found() -> None:
    tail = tail_after(second(100, b"one"))
    answer = Answer(NO_MASK, tail)
    assert text_of(answer.feed(second(100, b"one") + second(50, b"two"), NOW)) == b"two\n"
    assert answer.broken is None


@pytest.mark.parametrize(
    ("is_long", "seconds", "read_at", "whole_until", "is_doubtful"),
    [
        (True, 5, 60, 0, True),  # the line before was read long after the next one was written
        (True, 5, 5, 0, True),  # or about when the next one was written
        (
            True,
            40,
            3,
            0,
            True,
        ),  # or long before it, but late: the newest file may have been empty
        (False, 5, 60, 0, False),  # too short to have been rotated
        (True, 2, 60, 0, False),
        (True, 40, 1, 0, False),  # read when it was written: the container was quiet
        (True, 5, 60, 5, False),  # both lines existed when the response began
        (True, 5, 60, 3, False),
        (True, 6, 60, 3, True),
    ],
)
def test_where_seconds_are_missing_after_a_line_that_was_read_late_is_doubted(
    is_long: bool, seconds: int, read_at: int, whole_until: int, is_doubtful: bool
) -> None:
    began = NOW - 3600
    lines = [second(0, b"zero"), second(0, b"one"), second(seconds, b"two")]
    for chunks in (lines, [b"".join(lines)]):
        answer = Answer(NO_MASK, None, can_skip_files=is_long, whole_until=began + whole_until)
        text = b"".join(text_of(answer.feed(chunk, began + read_at)) for chunk in chunks)
        if is_doubtful:
            assert (text, answer.broken, answer.whole_until) == (
                b"zero\none\n",
                Broken.DOUBTFUL,
                began + seconds,
            )
        else:
            assert (text, answer.broken) == (b"zero\none\ntwo\n", None)


@pytest.mark.parametrize("is_one_chunk", [False, True])
def test_what_follows_the_tail_is_doubted_too(is_one_chunk: bool) -> None:
    began = NOW - 3600
    data = second(0, b"one"), second(40, b"two")
    answer = Answer(NO_MASK, tail_after(data[0]), can_skip_files=True, whole_until=began + 10)
    for chunk in [b"".join(data)] if is_one_chunk else data:
        assert not answer.feed(chunk, began + 41)
    assert answer.broken is Broken.DOUBTFUL
    again = Answer(NO_MASK, tail_after(data[0]), can_skip_files=True, whole_until=answer.whole_until)
    assert text_of(again.feed(b"".join(data), began + 42)) == b"two\n"
    assert again.broken is None


def test_times_in_other_zones_and_with_fewer_digits_are_read() -> None:
    data = b"2026-11-23T13:00:00.5+01:00 one\n2026-11-23T13:00:01+01:00 two\n"
    answer = Answer(NO_MASK, None)
    (piece,) = answer.feed(data, NOW)
    assert piece.lines.text == b"one\ntwo\n"
    assert piece.tail.since() == "2026-11-23T12:59:56+01:00"
    again = Answer(NO_MASK, piece.tail)
    assert text_of(again.feed(data + b"2026-11-23T12:00:02Z three\n", NOW)) == b"three\n"
