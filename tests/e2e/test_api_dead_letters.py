"""Messages that no handler can process become dead letters.

They do not delay other messages, the API shows them with their reason, and a replay has one effect.
"""

import base64
import secrets
from datetime import UTC, datetime
from uuid import uuid4

import aio_pika
import pytest
import zstandard

from shared.messaging import topology
from shared.messaging.messages import DeliveryAccepted, DeliveryKept, encode
from tests.harness.coverage import covers
from tests.harness.github import push, signed_headers, to_bytes
from tests.harness.installation import GITHUB_SECRET, Towpath
from tests.harness.scenes import Document, Scene, scene
from tests.harness.waiting import until

NOBODY = 2**62


async def say(towpath: Towpath, body: bytes, queue: str) -> None:
    """Publish the body directly to a queue, through the default exchange."""
    connection = await aio_pika.connect(towpath.stack.amqp_url)
    async with connection, connection.channel() as channel:
        await channel.default_exchange.publish(
            aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT), queue
        )


async def letters(towpath: Towpath, queue: str, **about: object) -> list[Document]:
    """Return the open dead letters of a queue whose `about` has these values."""
    found = (
        (await towpath.admin.get(f"/dead-letters?queue={queue}&state=open&limit=200"))
        .expect(200)
        .json["items"]
    )
    return [letter for letter in found if about.items() <= letter["about"].items()]


async def letter_about(towpath: Towpath, queue: str, **about: object) -> Document:
    found: Document = (
        await until(lambda: letters(towpath, queue, **about), within=20, what="a dead letter")
    )[0]
    return found


def kept(scene: Scene, *, event_type: str = "push") -> DeliveryKept:
    """Return a delivery as a gateway stores it in the inlet."""
    raw, delivery_id = to_bytes(push(scene.repository)), str(uuid4())
    headers = {
        name.lower(): value
        for name, value in signed_headers(GITHUB_SECRET, raw, event="push", delivery_id=delivery_id).items()
    }
    body = base64.b64encode(zstandard.compress(raw)).decode()
    return DeliveryKept(
        source="github",
        delivery_id=delivery_id,
        event_type=event_type,
        headers=headers,
        body=body,
        body_sha256=secrets.token_hex(32),
        body_bytes=len(raw),
        received_at=datetime.now(UTC),
    )


@covers("GET /dead-letters 200", "GET /dead-letters/{id} 200")
async def test_f15_a_poison_message_is_explained_and_stops_nobody(towpath: Towpath) -> None:
    nobodys = NOBODY + secrets.randbelow(2**40)
    await say(towpath, encode(DeliveryAccepted(delivery_ids=(nobodys,))), topology.SCHEDULER_DELIVERIES.name)
    assert (await (await scene(towpath)).ran())["status"] == "success"

    letter = await letter_about(towpath, topology.SCHEDULER_DELIVERIES.name, delivery_ids=[nobodys])
    assert (letter["cause"], letter["type"], letter["can_be_replayed"]) == (
        "rejected",
        "delivery.accepted",
        True,
    )
    assert "ever make it right" in letter["explanation"]
    assert (await towpath.admin.get(f"/dead-letters/{letter['id']}")).expect(200).json == letter
    assert await letters(towpath, topology.SCHEDULER_COMMANDS.name, delivery_ids=[nobodys]) == []


@pytest.mark.parametrize(
    "queue",
    [
        topology.SCHEDULER_COMMANDS.name,
        topology.LOGSINK_CONTAINERS.name,
        topology.executor_queue("local").name,
    ],
)
async def test_f15_what_is_no_message_is_kept_from_every_queue(towpath: Towpath, queue: str) -> None:
    garbage = secrets.token_bytes(40)
    await say(towpath, garbage, queue)

    async def found() -> list[Document]:
        return [
            letter
            for letter in await letters(towpath, queue)
            if letter["message_bytes"] == len(garbage) and not letter["can_be_replayed"]
        ]

    [letter, *_] = await until(found, within=20, what="a dead letter")
    assert letter["type"] == ""
    (await towpath.admin.post(f"/dead-letters/{letter['id']}/replay")).expect(409)


async def test_f15_poison_in_the_inlet_is_kept_and_the_deliveries_behind_it_are_stored(
    towpath: Towpath,
) -> None:
    found = await scene(towpath)
    garbage, refused, good = secrets.token_bytes(50), kept(found, event_type="pu\0sh"), kept(found)
    for body in (garbage, encode(refused), encode(good)):
        await say(towpath, body, topology.INLET.name)

    assert (await towpath.only_run(found.pipeline))["status"] == "success"
    letter = await letter_about(towpath, topology.INLET.name, delivery_id=refused.delivery_id)
    assert letter["cause"] == "refused"
    assert not {"body", "headers"} & letter["about"].keys()
    (await towpath.admin.post(f"/dead-letters/{letter['id']}/replay")).expect(409)
    causes = {
        letter["cause"]
        for letter in await letters(towpath, topology.INLET.name)
        if letter["message_bytes"] == len(garbage)
    }
    assert causes == {"unreadable"}


@covers("POST /dead-letters/{id}/replay 200")
async def test_f60_a_dead_letter_replayed_twice_has_one_effect(towpath: Towpath) -> None:
    found = await scene(towpath)
    delivery_id = await found.push()
    first = await towpath.only_run(found.pipeline)
    number = (await towpath.admin.get(f"/deliveries/{delivery_id}")).expect(200).json["id"]
    await say(
        towpath, encode(DeliveryAccepted(delivery_ids=(number,))), topology.SCHEDULER_DELIVERIES.dead_name
    )
    letter = await letter_about(towpath, topology.SCHEDULER_DELIVERIES.name, delivery_ids=[number])

    replayed = (await towpath.admin.post(f"/dead-letters/{letter['id']}/replay")).expect(200).json
    again = (await towpath.admin.post(f"/dead-letters/{letter['id']}/replay")).expect(200).json

    assert replayed["replayed_at"] is not None
    assert again == replayed
    assert (await (await scene(towpath)).ran())[
        "status"
    ] == "success"  # a later delivery: the replayed one was handled before it
    assert [run["id"] for run in await towpath.runs(found.pipeline)] == [first["id"]]


async def test_f60_a_letter_that_dies_again_is_open_again(towpath: Towpath) -> None:
    nobodys = NOBODY + secrets.randbelow(2**40)
    await say(towpath, encode(DeliveryAccepted(delivery_ids=(nobodys,))), topology.SCHEDULER_DELIVERIES.name)
    letter = await letter_about(towpath, topology.SCHEDULER_DELIVERIES.name, delivery_ids=[nobodys])
    (await towpath.admin.post(f"/dead-letters/{letter['id']}/replay")).expect(200)

    async def open_again() -> bool:
        found = (await towpath.admin.get(f"/dead-letters/{letter['id']}")).expect(200).json
        return found["replayed_at"] is None and found["died_at"] > letter["died_at"]

    await until(open_again, within=20, what="the letter open again")


@covers("GET /dead-letters 403", "GET /dead-letters/{id} 404", "POST /dead-letters/{id}/replay 403 404 409")
async def test_dead_letters_are_for_administrators(towpath: Towpath) -> None:
    person = await towpath.person()
    (await person.client.get("/dead-letters")).expect(403)
    (await person.client.post(f"/dead-letters/{NOBODY}/replay")).expect(403)
    (await towpath.admin.get(f"/dead-letters/{NOBODY}")).expect(404)
    (await towpath.admin.post(f"/dead-letters/{NOBODY}/replay")).expect(404)

    garbage = secrets.token_bytes(60)
    await say(towpath, garbage, topology.SCHEDULER_ATTEMPTS.name)

    async def found() -> list[Document]:
        return [
            letter
            for letter in await letters(towpath, topology.SCHEDULER_ATTEMPTS.name)
            if letter["message_bytes"] == len(garbage)
        ]

    [letter, *_] = await until(found, within=20, what="a dead letter")
    (await towpath.admin.post(f"/dead-letters/{letter['id']}/replay")).expect(409)
