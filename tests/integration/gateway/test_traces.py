"""The gateway continues the trace of a request, or begins one, and stores it with the delivery or command."""

import asyncio
import json

import pytest

from tests.harness.github import FakeRepository, push, to_bytes
from tests.integration.gateway.serving import Serving

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
VALID = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


def body() -> bytes:
    return to_bytes(push(FakeRepository("octo/web", forge_id=42)))


async def stored(served: Serving) -> list[str]:
    return [row[0] for row in await served.rows("SELECT traceparent FROM deliveries ORDER BY id")]


async def announced(served: Serving) -> list[str | None]:
    """Return the trace of each message in the outbox."""
    rows = await served.rows("SELECT message FROM outbox ORDER BY id")
    return [json.loads(row["message"]).get("traceparent") for row in rows]


async def test_a_webhook_continues_the_trace_of_its_request(served: Serving) -> None:
    name = (await served.deliver(body(), traceparent=VALID)).expect(202).json["delivery_id"]
    (traceparent,) = await stored(served)
    assert (traceparent[:36], traceparent[-3:]) == (f"00-{TRACE_ID}-", "-01")
    assert await announced(served) == [traceparent]
    shown = (await served.admin.get(f"/deliveries/{name}")).expect(200).json
    assert shown["trace_id"] == TRACE_ID


@pytest.mark.parametrize(
    "header", [None, "", VALID.upper(), VALID + "-x", "x" * 4000, f"00-{'0' * 32}-{'1' * 16}-01"]
)
async def test_an_invalid_header_is_ignored(served: Serving, header: str | None) -> None:
    (await served.deliver(body(), traceparent=header)).expect(202)
    (await served.deliver(body(), traceparent=header)).expect(202)
    first, second = await stored(served)
    assert len({first[3:35], second[3:35], TRACE_ID, "0" * 32}) == 4
    assert {first[-3:], second[-3:]} == {"-00"}


async def test_webhooks_that_share_a_transaction_keep_their_own_traces(served: Serving) -> None:
    wanted = [f"00-{number:032x}-{'1' * 16}-00" for number in range(1, 41)]
    answers = await asyncio.gather(*(served.deliver(body(), traceparent=one) for one in wanted))
    assert {answer.status for answer in answers} == {202}
    assert sorted(one[3:35] for one in await stored(served)) == [one[3:35] for one in wanted]
    traces = {row["id"]: row["traceparent"] for row in await served.rows("SELECT * FROM deliveries")}
    messages = [json.loads(row[0]) for row in await served.rows("SELECT message FROM outbox")]
    assert any(len(message["delivery_ids"]) > 1 for message in messages)
    for message in messages:
        several = {traces[one] for one in message["delivery_ids"]}
        assert message.get("traceparent") == (several.pop() if len(several) == 1 else None)


async def test_a_redelivery_that_is_decided_again_has_the_trace_of_its_own_request(served: Serving) -> None:
    sent = body()
    (await served.deliver(sent, X_GitHub_Delivery="d-1")).expect(202)
    await served.rows(
        "INSERT INTO delivery_outcomes (delivery_id, outcome, reason) SELECT id, 'unknown_repository', '' "
        "FROM deliveries"
    )
    (await served.deliver(sent, X_GitHub_Delivery="d-1", traceparent=VALID)).expect(200)
    (traceparent,) = await stored(served)
    assert traceparent[3:35] == TRACE_ID
    assert (await announced(served))[-1] == traceparent
