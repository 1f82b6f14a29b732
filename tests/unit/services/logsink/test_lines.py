"""Tests of long lines: they are cut with a note, and a secret at the cut is masked."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.logsink.lines import LONGEST_LINE_BYTES, LongLines, gap_marker, instant
from shared.masking import Masker, forms_of

SECRET = b"s3cr3t-t0ken-value"


def cut(line: bytes, masker: Masker) -> bytes:
    long = LongLines(masker)
    return long.cut(line[: long.kept_bytes], len(line))


@pytest.mark.parametrize("size", [0, 1, LONGEST_LINE_BYTES - 2, LONGEST_LINE_BYTES - 1])
def test_a_line_that_fits_a_segment_stays_whole(size: int) -> None:
    assert cut(b"x" * size, Masker([])) == b"x" * size


@pytest.mark.parametrize("size", [LONGEST_LINE_BYTES, LONGEST_LINE_BYTES + 1, 20 << 20])
def test_a_longer_line_is_cut_and_says_how_much_is_missing(size: int) -> None:
    line = cut(b"x" * size, Masker([]))
    kept = line.count(b"x")
    assert line == b"x" * kept + f"…[truncated, {size - kept} bytes]".encode()
    assert LONGEST_LINE_BYTES - 100 < len(line) < LONGEST_LINE_BYTES


@pytest.mark.parametrize("limit", [1024, LONGEST_LINE_BYTES, 1 << 20])
@pytest.mark.parametrize("extra", [-1, 0, 1, 5 << 20])
def test_a13_lines_are_cut_at_the_length_that_is_set(limit: int, extra: int) -> None:
    long = LongLines(Masker([SECRET]), limit)
    size = limit + extra
    line = long.cut((b"x" * size)[: long.kept_bytes], size)
    kept = line.count(b"x")
    mark = f"…[truncated, {size - kept} bytes]".encode()
    assert line == (b"x" * size if extra < 0 else b"x" * kept + mark)
    assert limit - 100 < len(line) < limit


@given(st.integers(-70, 20), st.sampled_from(sorted(forms_of(SECRET))))
def test_a_secret_around_the_cut_does_not_show(shift: int, form: bytes) -> None:
    line = b"." * (LONGEST_LINE_BYTES - len(form) + shift) + form + b"." * 1000
    shown = cut(line, Masker([SECRET]))
    assert form[:6] not in shown
    assert len(shown) < LONGEST_LINE_BYTES


@pytest.mark.parametrize(
    ("stamp", "at"),
    [
        (b"2026-11-23T12:00:00.123456789Z stdout F x", datetime(2026, 11, 23, 12, 0, 0, 123456, UTC)),
        (b"2026-11-23T12:00:00.1Z", datetime(2026, 11, 23, 12, 0, 0, 100000, UTC)),
        (b"2026-11-23T14:00:00+02:00", datetime(2026, 11, 23, 12, 0, tzinfo=UTC)),
        (b"2026-11-23T12:00:00", datetime(2026, 11, 23, 12, 0, tzinfo=UTC)),
        (b"", None),
        (b"yesterday", None),
        (b"\xff\x00", None),
    ],
)
def test_stamps_are_read_to_the_microsecond(stamp: bytes, at: datetime | None) -> None:
    assert instant(stamp) == at


def test_a_gap_marker_is_one_line() -> None:
    assert gap_marker("the node is gone") == b"[towpath: lines may be missing here: the node is gone]\n"
