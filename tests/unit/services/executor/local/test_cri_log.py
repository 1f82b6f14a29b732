"""Tests of the writer of CRI logs: a reader gets back exactly the bytes that were written."""

import os
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.executor.local.cri_log import LONGEST_PART_BYTES, CriLog

RECORD = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z stdout ([FP]) (.*)", re.DOTALL)
LINES = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(
        [
            b"\n",
            b"x" * LONGEST_PART_BYTES,
            b"y" * (LONGEST_PART_BYTES + 1),
            b"z" * (LONGEST_PART_BYTES // 2),
            b"",
        ]
    ),
)


def written(*chunks: bytes) -> list[tuple[bytes, bytes]]:
    """Write these chunks and return the records as tag and bytes."""
    with tempfile.NamedTemporaryFile() as file:
        log = CriLog(os.dup(file.fileno()))
        for chunk in chunks:
            log.write(chunk)
        log.close()
        data = Path(file.name).read_bytes()
    assert not data or data.endswith(b"\n")
    records = [RECORD.fullmatch(record) for record in data.split(b"\n")[:-1]]
    return (
        [(match[1], match[2]) for match in records if match]
        if all(records)
        else pytest.fail(f"not a record in {data[:200]!r}")
    )


@given(st.lists(LINES, max_size=12))
def test_reading_it_back_gives_the_bytes(chunks: list[bytes]) -> None:
    records = written(*chunks)
    assert b"".join(text + (b"\n" if tag == b"F" else b"") for tag, text in records) == b"".join(chunks)
    assert all(len(text) <= LONGEST_PART_BYTES for _, text in records)


def test_a_line_is_one_record_also_when_it_comes_in_pieces() -> None:
    assert written(b"one\ntw", b"o\n", b"") == [(b"F", b"one"), (b"F", b"two")]


def test_an_end_without_a_line_feed_is_a_part() -> None:
    assert written(b"one\ntwo") == [(b"F", b"one"), (b"P", b"two")]


def test_a_long_line_is_parts_and_an_end() -> None:
    long = b"x" * LONGEST_PART_BYTES
    assert written(long + long + b"y\nnext\n") == [(b"P", long), (b"P", long), (b"F", b"y"), (b"F", b"next")]


def test_a_line_of_the_full_length_is_whole() -> None:
    assert written(b"x" * LONGEST_PART_BYTES + b"\n") == [(b"F", b"x" * LONGEST_PART_BYTES)]
