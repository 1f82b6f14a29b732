"""Tests of the load sender: the bytes of a request, and the detection of a complete answer."""

import json
from dataclasses import asdict

import pytest

from bench.load import Job, job_from, requests, status_of
from bench.pushes import Series

JOB = Job(
    1234, "/webhooks/github", Series("bench/quiet", 101, "a secret", seed="one"), most=3, seconds=1, first=7
)

WITH_LENGTH = b"HTTP/1.1 202 Accepted\r\nContent-Length: 5\r\nServer: x\r\n\r\nhello"
IN_CHUNKS = b"HTTP/1.1 503 Away\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
EMPTY = b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n"


@pytest.mark.parametrize(("answer", "status"), [(WITH_LENGTH, "202"), (IN_CHUNKS, "503")])
def test_an_answer_counts_once_it_is_whole(answer: bytes, status: str) -> None:
    assert status_of(answer) == status
    assert {status_of(answer[:length]) for length in range(len(answer))} == {None}


def test_an_answer_without_a_body_is_whole_with_its_head() -> None:
    assert status_of(EMPTY) == "204"


def test_a_request_is_one_push_with_its_length() -> None:
    made = requests(JOB)
    assert [beginning + end for _, beginning, end in made] == [
        JOB.series.body(number) for number in (7, 8, 9)
    ]
    for head, beginning, end in made:
        assert head.startswith(b"POST /webhooks/github HTTP/1.1\r\n")
        assert head.endswith(b"\r\n\r\n")
        assert f"\r\nContent-Length: {len(beginning) + len(end)}\r\n".encode() in head


def test_a_job_reaches_the_senders_process_as_it_is() -> None:
    assert job_from(json.dumps(asdict(JOB))) == JOB
