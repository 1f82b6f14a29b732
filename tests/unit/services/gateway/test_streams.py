"""Tests of the number of log streams that one user, and all users together, may have open."""

from contextlib import ExitStack

import pytest

from services.gateway.http.problems import Problem
from services.gateway.logs.streams import Streams


def refusal(streams: Streams, user_id: int) -> tuple[int, str]:
    with pytest.raises(Problem) as refused, streams.opened(user_id):
        pass
    assert refused.value.code == "too_many_streams"
    return refused.value.status, refused.value.detail


def test_x08_a_user_may_open_so_many_and_others_are_not_affected() -> None:
    streams = Streams(1000, 50)
    with ExitStack() as opened:
        for _ in range(50):
            opened.enter_context(streams.opened(1))
        status, detail = refusal(streams, 1)
        assert (status, "50 streams" in detail, "TOWPATH_LIVE_STREAMS_PER_USER" in detail) == (
            429,
            True,
            True,
        )
        opened.enter_context(streams.opened(2))
    assert streams.count == 0
    with streams.opened(1):
        assert streams.count == 1


def test_x08_when_streams_are_scarce_a_user_gets_few() -> None:
    streams = Streams(100, 50)
    with ExitStack() as opened:
        for user in (1, 2):
            for _ in range(38 - user):
                opened.enter_context(streams.opened(user))
        opened.enter_context(streams.opened(3))
        opened.enter_context(streams.opened(3))
        assert streams.count == 75
        status, detail = refusal(streams, 1)
        assert (status, "while most of them are in use" in detail) == (429, True)
        for _ in range(5):
            opened.enter_context(streams.opened(4))
        assert refusal(streams, 4)[0] == 429
        for user in range(10, 14):
            for _ in range(5):
                opened.enter_context(streams.opened(user))
        status, detail = refusal(streams, 99)
        assert (status, "TOWPATH_LIVE_STREAMS)" in detail) == (503, True)
    assert streams.count == 0
