"""Tests of segments: whole lines, at most 64 KiB, without holes, and with the hash of their text."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.logsink.lines import MOST_LINE_BYTES, NO_LINES, Lines
from services.logsink.segments import SEGMENT_BYTES, Gap, Position, Segment, Writer, unpack
from tests.fakes.pod_directory import BEGINNING, lines_of, stamp

NOW = datetime(2026, 11, 24, tzinfo=UTC)


def lines(text: bytes, first: int = 0) -> Lines:
    return Lines(text, [stamp(first + number) + b" stdout F" for number in range(len(lines_of(text)))])


def text_of(segments: list[Segment]) -> bytes:
    return b"".join(unpack(segment.data, segment.raw_bytes) for segment in segments)


@given(st.lists(st.lists(st.integers(0, 40_000), max_size=8), max_size=5))
def test_segments_follow_one_another_without_holes(batches: list[list[int]]) -> None:
    writer = Writer(Position(), NOW)
    texts = [b"".join(b"x" * size + b"\n" for size in batch) for batch in batches]
    segments = [segment for text in texts for segment in writer.add(lines(text))]
    whole = b"".join(texts)
    assert text_of(segments) == whole
    assert writer.sha256() == hashlib.sha256(whole).digest()
    assert writer.position == Position(len(segments), 1 + whole.count(b"\n"), len(whole))
    line = 1
    for seq, segment in enumerate(segments):
        assert (segment.seq, segment.first_line) == (seq, line)
        assert 0 < segment.raw_bytes <= SEGMENT_BYTES
        assert text_of([segment]).count(b"\n") == segment.line_count
        line += segment.line_count


def test_each_segment_knows_the_times_of_its_first_and_last_line() -> None:
    segments = Writer(Position(), NOW).add(lines((b"x" * 30_000 + b"\n") * 4))
    assert [segment.line_count for segment in segments] == [2, 2]
    seconds = [((one.first_at - BEGINNING), (one.last_at - BEGINNING)) for one in segments]
    assert seconds == [(timedelta(microseconds=a), timedelta(microseconds=b)) for a, b in [(0, 1), (2, 3)]]


def test_a_line_without_a_time_has_that_of_the_line_before() -> None:
    writer = Writer(Position(), NOW)
    assert writer.add(Lines(b"a\n", [b""]))[0].first_at == NOW
    writer.add(lines(b"b\n"))
    assert writer.add(Lines(b"c\n", [b"?"]))[0].last_at == BEGINNING


def test_a_last_line_without_a_line_feed_counts() -> None:
    writer = Writer(Position(), NOW)
    (segment,) = writer.add(lines(b"a\nb"))
    assert segment.line_count == 2
    assert writer.position.next_line == 3


def test_no_lines_make_no_segment() -> None:
    assert Writer(Position(), NOW).add(NO_LINES) == []


def test_a_gap_is_a_line_in_its_place_and_is_noted() -> None:
    writer = Writer(Position(), NOW)
    segments = [
        *writer.add(lines(b"a\n")),
        *writer.add_gap("the node is gone", NOW),
        *writer.add(lines(b"b\n")),
    ]
    assert text_of(segments) == b"a\n[towpath: lines may be missing here: the node is gone]\nb\n"
    assert writer.position.gaps == (Gap(2, "the node is gone"),)
    assert writer.sha256() == hashlib.sha256(text_of(segments)).digest()
    assert segments[1].first_at == NOW


def test_a_writer_goes_on_where_another_stopped() -> None:
    first = Writer(Position(), NOW)
    stored = first.add(lines(b"a\n" * 100_000))
    second = Writer(first.position, NOW)
    seen: list[bytes] = []
    second.resume(((segment.data, segment.raw_bytes) for segment in stored[:2]), seen.append)
    second.resume(((segment.data, segment.raw_bytes) for segment in stored[2:]), seen.append)
    assert b"".join(seen) == b"".join(unpack(segment.data, segment.raw_bytes) for segment in stored)
    for writer in (first, second):
        writer.add(lines(b"b\n"))
    assert second.sha256() == first.sha256()
    assert second.position == first.position


@pytest.mark.parametrize("size", [SEGMENT_BYTES + 1, MOST_LINE_BYTES])
def test_a13_a_line_over_64_kib_is_a_segment_of_its_own(size: int) -> None:
    long = b"x" * (size - 1) + b"\n"
    segments = Writer(Position(), NOW).add(lines(b"before\n" + long + b"after\n" + long))
    assert [text_of([segment]) for segment in segments] == [b"before\n", long, b"after\n", long]
    assert [segment.first_line for segment in segments] == [1, 2, 3, 4]
    assert [segment.line_count for segment in segments] == [1, 1, 1, 1]


def test_a_line_over_the_largest_cap_is_a_bug() -> None:
    with pytest.raises(ValueError, match="longer than any line may be"):
        Writer(Position(), NOW).add(lines(b"x" * MOST_LINE_BYTES + b"\n"))
