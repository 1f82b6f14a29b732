"""Tests of the CRI parser: its lines are exactly the printed bytes, for any division into chunks."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.logsink.cri import CriReader
from services.logsink.lines import LONGEST_LINE_BYTES, Lines
from shared.masking import Masker, forms_of
from tests.fakes.pod_directory import cri, lines_of, stamp

printed = st.lists(st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"")), max_size=20).map(
    b"\n".join
)
cuts = st.lists(st.integers(0, 10_000), max_size=8)


def read(chunks: list[bytes], masker: Masker | None = None) -> Lines:
    reader = CriReader(masker or Masker([]))
    parts = [*(reader.feed(chunk) for chunk in chunks), reader.finish()]
    return Lines(b"".join(part.text for part in parts), [one for part in parts for one in part.stamps])


def pieces(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({min(place, len(data)) for place in at} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places)]


@given(printed, st.integers(1, 50), cuts)
def test_what_was_printed_is_what_is_read(text: bytes, part_bytes: int, at: list[int]) -> None:
    lines = read(pieces(cri(text, part_bytes=part_bytes), at))
    assert lines.text == text
    assert lines.count == len(lines_of(text))


@given(printed, cuts)
def test_unfinished_bytes_are_those_of_the_line_under_way(text: bytes, at: list[int]) -> None:
    data = cri(text, part_bytes=7)
    reader = CriReader(Masker([]))
    fed = 0
    stored = b""
    for chunk in pieces(data, at):
        stored += reader.feed(chunk).text
        fed += len(chunk)
        again = CriReader(Masker([]))
        assert stored + again.feed(data[fed - reader.unfinished_bytes :]).text + again.finish().text == text


@given(
    st.lists(st.sampled_from([*sorted(forms_of(b"s3cr3t-value")), b"x", b"\n", b" "]), max_size=20),
    st.integers(1, 9),
    cuts,
)
def test_no_secret_survives_however_records_and_chunks_are_cut(
    words: list[bytes], part_bytes: int, at: list[int]
) -> None:
    masker = Masker([b"s3cr3t-value"])
    text = b"".join(words)
    lines = read(pieces(cri(text, part_bytes=part_bytes), at), masker)
    assert lines.text == b"\n".join(masker.mask(line) for line in text.split(b"\n"))


@pytest.mark.parametrize(
    ("record", "line"),
    [
        (b"2026-11-23T12:00:00.123456789Z stdout F hello\n", b"hello\n"),
        (b"2026-11-23T12:00:00.1Z stderr F hello\n", b"hello\n"),
        (b"2026-11-23T12:00:00Z stdout F  stdout F hello\n", b" stdout F hello\n"),
        (b"2026-11-23T12:00:00.12345678Z stdout F Z stdout F x\n", b"Z stdout F x\n"),
        (b"2026-11-23T12:00:00.123456789+02:00 stdout F hello\n", b"hello\n"),
        (b"2026-11-23T12:00:00.123456789Z stdout F \n", b"\n"),
        (b"2026-11-23T12:00:00.123456789Z stdout F:x hello\n", b"hello\n"),
        (b"2026-11-23T12:00:00.123456789Z stdout F \xff\x00\xfe\n", b"\xff\x00\xfe\n"),
        (
            b'2026-11-23T12:00:00.123456789Z stdout F {"type":"ERROR","object":{}}\n',
            b'{"type":"ERROR","object":{}}\n',
        ),
        (b"no record at all\n", b"no record at all\n"),
        (b"\n", b"\n"),
    ],
)
def test_records_of_every_kind(record: bytes, line: bytes) -> None:
    assert read([record]).text == line
    assert read([cri(b"before\n") + record + cri(b"after\n")]).text == b"before\n" + line + b"after\n"


def test_stamps_are_those_of_a_lines_first_record() -> None:
    lines = read([cri(b"abcdef\ng\n", part_bytes=2)])
    assert [one[:30] for one in lines.stamps] == [stamp(0), stamp(3)]


@pytest.mark.parametrize("part_bytes", [16_384, 30 << 20])
@pytest.mark.parametrize("limit", [4096, 1 << 20])
def test_a13_a_line_below_the_length_that_is_set_stays_whole(part_bytes: int, limit: int) -> None:
    reader = CriReader(Masker([]), limit)
    text = reader.feed(cri(b"x" * (limit - 1) + b"\n" + b"y" * limit + b"\n", part_bytes=part_bytes)).text
    whole, cut = text.splitlines()
    assert whole == b"x" * (limit - 1)
    assert len(cut) < limit
    assert cut.endswith(b" bytes]")


@pytest.mark.parametrize("part_bytes", [16_384, 30 << 20])
def test_f36_a_line_of_20_mib_is_cut_and_its_neighbours_stay(part_bytes: int) -> None:
    data = cri(b"before\n" + b"x" * (20 << 20) + b"\nafter\n", part_bytes=part_bytes)
    reader = CriReader(Masker([]))
    text = b""
    for start in range(0, len(data), 1 << 20):
        text += reader.feed(data[start : start + (1 << 20)]).text
    before, long, after = text.splitlines()
    assert (before, after) == (b"before", b"after")
    assert len(long) < LONGEST_LINE_BYTES
    assert long.endswith(b" bytes]")
    assert reader.unfinished_bytes == 0
