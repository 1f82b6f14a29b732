"""Tests of the pace of a stream."""

import pytest

from services.logsink.follower import Pace

PACE = Pace(quiet_seconds=0.02, flow_seconds=0.05, check_seconds=2, silence_seconds=60)


@pytest.mark.parametrize(
    ("now", "committed", "due"),
    [
        (10.01, 0.0, 10.03),  # quiet: soon after the first line
        (10.01, 9.99, 10.05),  # flowing: at the next beat
        (10.049, 9.99, 10.05),
        (10.01, 9.95, 10.05),
    ],
)
def test_when_lines_are_due(now: float, committed: float, due: float) -> None:
    assert PACE.due(now, committed) == pytest.approx(due)


def test_streams_that_flow_are_due_together() -> None:
    assert len({PACE.due(10 + part / 1000, 9.99) for part in range(1, 49)}) == 1
