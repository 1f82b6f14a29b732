"""Redeliveries of deliveries that started nothing because their repository was not registered.

If the forge sends such a delivery again, the gateway hands it on again.
"""

import asyncio
import json
from typing import Any

import pytest

from services.gateway.reconciler import BodyRetention
from tests.harness.github import FakeRepository, push, to_bytes
from tests.integration.gateway.serving import Serving

BODY = to_bytes(push(FakeRepository("octo/web", forge_id=42)))


async def accepted(served: Serving, outcome: str, body: bytes = BODY, **headers: str) -> int:
    """Store a delivery with this outcome, and delete its message. Return its id."""
    name = (await served.deliver(body, **headers)).expect(202).json["delivery_id"]
    (row,) = await served.rows("SELECT id FROM deliveries WHERE delivery_id = $1", name)
    await served.rows(
        "INSERT INTO delivery_outcomes (delivery_id, outcome, reason) VALUES ($1, $2, '')", row["id"], outcome
    )
    await served.rows("DELETE FROM outbox")
    return int(row["id"])


async def named(served: Serving) -> list[list[int]]:
    """Return the ids of the deliveries that each message in the outbox names."""
    rows = await served.rows("SELECT message FROM outbox WHERE type = 'delivery.accepted' ORDER BY id")
    return [json.loads(row["message"])["delivery_ids"] for row in rows]


async def redelivered(served: Serving) -> list[Any]:
    return await served.rows("SELECT * FROM deliveries WHERE redelivered_at IS NOT NULL")


@pytest.mark.parametrize("outcome", ["unknown_repository", "repository_mismatch"])
@pytest.mark.parametrize("delivery_id", ["d-1", "another"])
async def test_a11_a_redelivery_is_a_duplicate_and_is_handed_on(
    served: Serving, outcome: str, delivery_id: str
) -> None:
    stored = await accepted(served, outcome, X_GitHub_Delivery="d-1")
    again = (await served.deliver(BODY, X_GitHub_Delivery=delivery_id)).expect(200).json
    assert again == {"delivery_id": "d-1", "status": "duplicate"}
    assert await named(served) == [[stored]]
    assert [row["id"] for row in await redelivered(served)] == [stored]


@pytest.mark.parametrize("outcome", ["event", "ignored", "other_hook", "failed"])
async def test_a11_what_had_another_outcome_stays_as_it_is(served: Serving, outcome: str) -> None:
    await accepted(served, outcome)
    (await served.deliver(BODY)).expect(200)
    assert await named(served) == []
    assert await redelivered(served) == []


async def test_a11_what_nobody_has_decided_yet_stays_as_it_is(served: Serving) -> None:
    (await served.deliver(BODY)).expect(202)
    (await served.deliver(BODY)).expect(200)
    assert len(await named(served)) == 1
    assert await redelivered(served) == []


async def test_a11_another_body_under_the_same_id_is_no_redelivery(served: Serving) -> None:
    await accepted(served, "unknown_repository", X_GitHub_Delivery="d-1")
    other = to_bytes(push(FakeRepository("octo/web", forge_id=42)))
    (await served.deliver(other, X_GitHub_Delivery="d-1")).expect(200)
    assert await redelivered(served) == []


async def test_a11_fifty_redeliveries_at_once_are_handed_on_as_one(served: Serving) -> None:
    stored = await accepted(served, "unknown_repository")
    answers = await asyncio.gather(*(served.deliver(BODY) for _ in range(50)))
    assert {answer.status for answer in answers} == {200}
    assert await named(served) == [[stored]]


async def test_a11_new_and_known_deliveries_at_once_each_get_their_answer(served: Serving) -> None:
    known = [to_bytes(push(FakeRepository("octo/web"))) for _ in range(10)]
    stored = {await accepted(served, "unknown_repository", body) for body in known}
    new = [to_bytes(push(FakeRepository("octo/web"))) for _ in range(10)]
    answers = await asyncio.gather(
        *(served.deliver(body) for pair in zip(known, new, strict=True) for body in pair)
    )
    assert [answer.status for answer in answers] == [200, 202] * 10
    ids = [one for message in await named(served) for one in message]
    assert len(ids) == len(set(ids)) == 20
    assert stored < set(ids)


async def test_a11_the_hook_that_delivers_again_is_the_one_that_counts(served: Serving) -> None:
    stored = await accepted(
        served, "unknown_repository", X_GitHub_Hook_Installation_Target_Type="organization"
    )
    repository = await served.repository("octo/web", forge_id=42, webhook_secret="of its own")
    path = f"/webhooks/github/{repository['hook_key']}"
    (await served.deliver(BODY, path=path, secret="of its own")).expect(200)
    (row,) = await redelivered(served)
    assert (row["id"], row["hook_key"]) == (stored, repository["hook_key"])
    assert json.loads(row["headers"])["x-github-hook-installation-target-type"] == "repository"


async def test_a11_a_redelivery_brings_its_body_back(served: Serving) -> None:
    """A redelivery stores its body if the body of the first delivery was deleted after its retention.

    The new body is kept until the redelivery is decided.
    """
    await accepted(served, "unknown_repository")
    await served.rows("UPDATE deliveries SET created_at = now() - interval '31 days'")
    assert await BodyRetention(served.gateway.store, days=30).check() == 1
    (await served.deliver(BODY)).expect(200)
    assert await BodyRetention(served.gateway.store, days=30).check() == 0
    (row,) = await redelivered(served)
    assert row["body"] is not None
    await served.rows("UPDATE delivery_outcomes SET outcome = 'ignored', decided_at = now()")
    assert await BodyRetention(served.gateway.store, days=30).check() == 1
