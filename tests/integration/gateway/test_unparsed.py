"""Input that is not valid HTTP gets a problem as its response, like every other error.

The response arrives even if the client continues to send.
"""

import asyncio
import json
from urllib.parse import urlsplit

import pytest

from tests.integration.gateway.serving import Serving

MEGABYTE = b"x" * (1 << 20)


@pytest.fixture
def served(shared_gateway: Serving) -> Serving:
    return shared_gateway


async def answer_to(served: Serving, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send all these bytes, then read the response. Return its status, headers and body."""
    address = urlsplit(served.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        head, _, body = (await asyncio.wait_for(reader.read(), 10)).partition(b"\r\n\r\n")
    finally:
        writer.close()
    status, *lines = head.decode().split("\r\n")
    return (
        int(status.split()[1]),
        {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)},
        body,
    )


@pytest.mark.parametrize("megabytes", [1, 5])
async def test_a_token_of_megabytes_is_no_valid_token(served: Serving, megabytes: int) -> None:
    status, headers, body = await answer_to(
        served,
        b"GET /users/me HTTP/1.1\r\nHost: towpath\r\nAuthorization: Bearer tp_",
        *[MEGABYTE] * megabytes,
        b"\r\n\r\n",
    )
    assert (status, headers["content-type"]) == (401, "application/problem+json")
    assert headers["www-authenticate"].startswith("Bearer")
    assert json.loads(body)["type"] == "urn:towpath:problem:unauthorized"


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: towpath\r\nX-Long: " + MEGABYTE + b"\r\n\r\n", 431, "header_too_long"),
        (b"GET / HTTP/1.1\r\nHost: towpath\r\n" + MEGABYTE + b": x\r\n\r\n", 431, "header_too_long"),
        (b"GET /" + MEGABYTE + b" HTTP/1.1\r\nHost: towpath\r\n\r\n", 414, "address_too_long"),
        (b"GET / HTTP/1.1\r\nHost towpath\r\n\r\n", 400, "malformed_request"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "malformed_request"),
        (
            b"POST /pipelines HTTP/1.1\r\nHost: towpath\r\nContent-Length: many\r\n\r\n",
            400,
            "malformed_request",
        ),
    ],
)
async def test_what_is_no_request_is_answered_with_a_problem(
    served: Serving, request_bytes: bytes, status: int, code: str
) -> None:
    answered, headers, body = await answer_to(served, request_bytes)
    problem = json.loads(body)
    assert (answered, headers["content-type"], problem["status"], problem["type"]) == (
        status,
        "application/problem+json",
        status,
        f"urn:towpath:problem:{code}",
    )
    assert b"xxxx" not in body


async def test_a_client_that_never_stops_is_left(served: Serving) -> None:
    with pytest.raises(ConnectionError):
        await answer_to(served, b"GET / HTTP/1.1\r\nX-Long: ", *[MEGABYTE] * 64)
    (await served.admin.get("/users/me")).expect(200)
