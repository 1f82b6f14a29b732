"""Tests of the proof that a log has the end of a step."""

from hypothesis import given
from hypothesis import strategies as st

from services.logsink.cri import CriReader
from services.logsink.step_ends import StepEnds, mark_in_log
from shared import step_markers
from shared.masking import Masker
from tests.fakes.pod_directory import cri

NONCE = step_markers.nonce("token")
MARK = step_markers.mark(NONCE)
SHORT_BYTES = 200
"""The limit on a line's length in these tests."""

outputs = st.lists(
    st.lists(
        st.sampled_from([b"line\n", b"\n", b"no line feed", b"\xff\x00", b"::towpath-0::end 1 0 s\n"]),
        max_size=4,
    ).map(b"".join),
    min_size=1,
    max_size=12,
)


def printed(index: int, output: bytes) -> bytes:
    begin = step_markers.begin(NONCE, index, f"step {index}").encode()
    return begin + b"\n" + output + f"::towpath-{NONCE}::end {index} 0 s\n".encode()


def read(log: bytes, chunk_bytes: int, longest_bytes: int = SHORT_BYTES) -> StepEnds:
    """Read a log in chunks as the log sink does."""
    records = cri(log, part_bytes=64)
    reader, ends = CriReader(Masker([]), longest_bytes), StepEnds(MARK)
    for at in range(0, len(records), chunk_bytes):
        ends.add(reader.feed(records[at : at + chunk_bytes]).text)
    ends.add(reader.finish().text)
    return ends


@given(outputs, st.data())
def test_a19_a_step_has_its_end_exactly_if_all_of_its_output_is_there(
    outputs: list[bytes], data: st.DataObject
) -> None:
    """Wherever a log ends: the steps whose marker is complete are proven, and no others."""
    texts = [printed(index, output) for index, output in enumerate(outputs, 1)]
    log = b"".join(texts)
    cut = data.draw(st.integers(0, len(log)), label="bytes that were kept")
    ends = read(log[:cut], data.draw(st.integers(1, 300), label="chunk"))
    for index in range(1, len(texts) + 1):
        assert ends.has(index) == (cut >= len(b"".join(texts[:index])))
    assert ends.has(None)


@given(st.integers(0, 2 * SHORT_BYTES), st.data())
def test_a_line_that_was_cut_off_is_complete_if_it_has_its_line_feed(
    length: int, data: st.DataObject
) -> None:
    log = printed(1, b"x" * length)
    cut = data.draw(st.integers(0, len(log)), label="bytes that were kept")
    assert read(log[:cut], 50).has(1) == (cut == len(log))


def test_a_step_that_began_proves_those_before_it() -> None:
    """The marker of a step whose last line was too long is cut off together with that line."""
    begin = step_markers.begin(NONCE, 2, "next").encode() + b"\n"
    ends = read(printed(1, b"x" * 2 * SHORT_BYTES) + begin + b"killed\n", 50)
    assert (ends.has(1), ends.has(2)) == (True, False)


def test_a_log_without_steps_is_not_examined() -> None:
    ends = StepEnds(None)
    ends.add(b"stopped in a li")
    assert ends.has(1)


def test_markers_in_which_a_secret_occurs_are_not_looked_for() -> None:
    assert mark_in_log("token", Masker([b"s3cr3t-value"])) == MARK
    for secret in (b"towpath", NONCE.encode(), MARK, b"::end 1 0 s"):
        assert mark_in_log("token", Masker([secret])) is None
