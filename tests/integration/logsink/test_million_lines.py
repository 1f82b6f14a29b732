"""A million lines, from the file to the seal."""

import time

import pytest

from tests.fakes.pod_directory import FakePod, cri
from tests.integration.logsink.running import Record, running_sink


@pytest.mark.alone("measures time")
@pytest.mark.slow
async def test_a_million_lines_are_stored_in_seconds(database_url: str, record: Record, pod: FakePod) -> None:
    for first in range(0, 1_000_000, 100_000):
        pod.append(
            cri(
                b"".join(b"line %07d %s\n" % (number, b"x" * 85) for number in range(first, first + 100_000)),
                first=first,
            )
        )
    pod.end()
    attempt_id = await record.attempt(pod.path)
    started = time.monotonic()
    async with running_sink(database_url) as running:
        await running.sink.open([attempt_id])
        stream = await record.sealed(attempt_id, within=30)
    assert time.monotonic() - started < 30
    assert stream["next_line"] == 1_000_001
    lines = (await record.text(attempt_id)).splitlines()
    assert [int(line[5:12]) for line in lines] == list(range(1_000_000))
