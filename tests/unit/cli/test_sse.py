"""Tests of the parser of server-sent events, as the HTML standard defines them."""

from cli.sse import ServerSentEvent, events


def test_an_event_has_its_id_kind_and_data() -> None:
    assert list(events([b"id: 1:5\n", b"event: lines\n", b"data: {}\n", b"\n"])) == [
        ServerSentEvent("1:5", "lines", "{}")
    ]


def test_comments_and_unknown_fields_are_nothing() -> None:
    assert list(events([b": still here\n", b"\n", b"retry: 1000\n", b"\n"])) == []


def test_the_last_id_holds_until_another_comes() -> None:
    found = list(events([b"data: a\n", b"\n", b"id: 2\n", b"data: b\n", b"\n", b"data: c\n", b"\n"], "1"))
    assert [event.id for event in found] == ["1", "2", "2"]
    assert [event.kind for event in found] == ["message"] * 3


def test_several_data_lines_are_one_text() -> None:
    assert [event.data for event in events([b"data: a\r\n", b"data:b\r\n", b"\r\n"])] == ["a\nb"]


def test_what_the_end_cuts_off_is_dropped() -> None:
    assert [event.data for event in events([b"data: a\n", b"\n", b"data: b\n"])] == ["a"]
