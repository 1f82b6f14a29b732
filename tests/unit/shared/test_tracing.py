"""Tests of the trace context: headers are hostile, and log lines have the right trace or none."""

import asyncio
import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.database.store import Queries, Work
from shared.messaging.messages import AttemptFinished, RunCreated, decode, encode, merged, trace_of
from shared.tracing import add_trace_id, common, continued, current, set_trace, trace_id_of, traced, valid

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN_ID = "00f067aa0ba902b7"
GIVEN = f"00-{TRACE_ID}-{SPAN_ID}-01"
OTHER = f"00-{'a' * 32}-{'b' * 16}-00"
STORED = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-0[01]")


def line() -> object:
    """Return the trace id that a log line has here."""
    return add_trace_id(None, "info", {"event": "boat_moored"}).get("trace_id")


@pytest.mark.parametrize(
    ("header", "flags"),
    [
        (GIVEN, "01"),
        (f"00-{TRACE_ID}-{SPAN_ID}-00", "00"),
        (f"00-{TRACE_ID}-{SPAN_ID}-03", "01"),  # other flags are not ours to promise
        (f"00-{TRACE_ID}-{SPAN_ID}-fe", "00"),
        (f"01-{TRACE_ID}-{SPAN_ID}-01", "01"),
        (f"cc-{TRACE_ID}-{SPAN_ID}-01-what-comes-later", "01"),
        (f"cc-{TRACE_ID}-{SPAN_ID}-01-" + "x" * 200, "01"),
    ],
)
def test_a_valid_header_is_continued_with_its_sampled_flag(header: str, flags: str) -> None:
    version, trace_id, span_id, kept = continued([header]).split("-")
    assert (version, trace_id, kept) == ("00", TRACE_ID, flags)
    assert span_id != SPAN_ID


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [""],
        [GIVEN, GIVEN],
        [GIVEN.upper()],
        [f"{GIVEN}-more"],  # version 00 has four fields
        [f"{GIVEN}\n"],
        [f" {GIVEN}"],
        [f"{GIVEN}, {OTHER}"],
        [f"ff-{TRACE_ID}-{SPAN_ID}-01"],
        [f"0g-{TRACE_ID}-{SPAN_ID}-01"],
        [f"00-{'0' * 32}-{SPAN_ID}-01"],
        [f"00-{TRACE_ID}-{'0' * 16}-01"],
        [f"00-{TRACE_ID[:-1]}-{SPAN_ID}-01"],
        [f"00-{TRACE_ID}a-{SPAN_ID}-01"],
        [f"00-{TRACE_ID[:-1]}\N{ARABIC-INDIC DIGIT SEVEN}-{SPAN_ID}-01"],
        [f"00-{TRACE_ID}-{SPAN_ID}"],
        [f"00-{TRACE_ID}-{SPAN_ID}-1"],
        [f"00-{TRACE_ID}-{SPAN_ID}-0x"],
        [f"cc-{TRACE_ID}-{SPAN_ID}-01-\N{NO-BREAK SPACE}"],
        [f"cc-{TRACE_ID}-{SPAN_ID}-01-\udcff"],
        [f"cc-{TRACE_ID}-{SPAN_ID}-01-" + "x" * 201],  # longer than 256 characters
        ["\0" * 55],
        ["0" * 10_000_000],
    ],
    ids=lambda headers: f"{len(headers)}-{''.join(headers)[:70]!a}",
)
def test_an_invalid_header_begins_a_trace_that_is_not_sampled(headers: Sequence[str]) -> None:
    made = continued(headers)
    assert STORED.fullmatch(made)
    assert trace_id_of(made) != TRACE_ID
    assert made.endswith("-00")


@given(st.text(max_size=300) | st.from_regex(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}.{0,5}"))
def test_every_header_gives_a_valid_trace(header: str) -> None:
    made = continued([header])
    assert STORED.fullmatch(made)
    assert valid(made) == made


def test_two_requests_without_a_header_have_two_traces() -> None:
    assert trace_id_of(continued([])) != trace_id_of(continued([]))


@pytest.mark.parametrize(
    "given_value", [None, "", "x", 7, f"01-{TRACE_ID}-{SPAN_ID}-01", f"{GIVEN}-more", GIVEN * 9]
)
def test_a_message_with_an_invalid_trace_is_read_without_it(given_value: object) -> None:
    assert valid(given_value) is None
    body = encode(RunCreated(run_ids=(1,), traceparent=GIVEN)).replace(
        f'"{GIVEN}"'.encode(), b"7" if given_value == 7 else f'"{given_value}"'.encode()
    )
    assert decode(body) is not None
    assert getattr(decode(body), "traceparent", "missing") is None


def test_a_message_keeps_its_trace() -> None:
    message = RunCreated(run_ids=(1,), traceparent=GIVEN)
    assert decode(encode(message)) == message
    assert trace_of(encode(message)) == GIVEN


def test_a_message_is_sent_with_its_own_trace_or_with_that_of_the_unit_of_work() -> None:
    work = Work(None, Queries(""))
    with traced(GIVEN):
        work.send(RunCreated(run_ids=(1,)), RunCreated(run_ids=(2,), traceparent=OTHER))
        with traced():
            work.send(RunCreated(run_ids=(3,)))
    assert [message.traceparent for message in work.outgoing] == [GIVEN, OTHER, None]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"traceparent": 7}', b'{"traceparent": "\\u0000"}']
)
def test_a_dead_letter_without_a_trace_has_none(body: bytes) -> None:
    assert trace_of(body) is None


@pytest.mark.parametrize(
    ("traces", "kept"),
    [
        ([GIVEN, GIVEN], GIVEN),
        ([GIVEN, OTHER], None),
        ([GIVEN, None], None),
        ([None, GIVEN], None),
        ([GIVEN], GIVEN),
    ],
)
def test_merged_messages_have_the_trace_that_all_share_or_none(
    traces: list[str | None], kept: str | None
) -> None:
    messages = [AttemptFinished(attempt_ids=(at,), traceparent=trace) for at, trace in enumerate(traces)]
    assert merged(messages).traceparent == kept
    assert common(traces) == kept


def test_a_line_has_the_trace_of_its_unit_of_work() -> None:
    assert line() is None
    with traced(GIVEN):
        assert line() == TRACE_ID
        with traced():
            assert line() is None
            set_trace([OTHER, OTHER])
            assert line() == "a" * 32
        assert line() == TRACE_ID
        set_trace([GIVEN, OTHER])
        assert line() is None
    assert line() is None
    set_trace([GIVEN])
    assert current() is None


def test_a_line_about_one_item_keeps_the_trace_that_it_names() -> None:
    with traced(GIVEN):
        assert add_trace_id(None, "info", {"trace_id": "b" * 32}) == {"trace_id": "b" * 32}


async def test_a_task_that_outlives_the_unit_does_not_take_its_trace_along() -> None:
    async def outlives() -> tuple[object, object]:
        set_trace([OTHER])
        before = line()
        with traced(OTHER):
            return before, line()

    with traced(GIVEN):
        tasks = [
            asyncio.create_task(outlives()),
            asyncio.create_task(asyncio.to_thread(lambda: (line(), "a" * 32))),
        ]
        assert await asyncio.gather(*tasks) == [(None, "a" * 32)] * 2
        assert line() == TRACE_ID
