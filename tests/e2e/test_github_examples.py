"""GitHub's examples of all webhooks, signed and sent over HTTP.

Each has the effect that the table names, and none causes an error.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator

import pytest

from tests.harness.github import FakeRepository, to_bytes
from tests.harness.installation import Towpath
from tests.harness.scenes import Document, Scene, event_of, outcome_of, verdict
from tests.payloads import events, examples
from tests.payloads.expectations import EXPECTATIONS, FORGE_ID, PIPELINE, REPOSITORY, Expectation

_SENT = itertools.count()
MEANINGFUL = {"push", "pull_request"}
AT_ONCE = 16


def body_of(example: Document) -> bytes:
    """Return the example's JSON with spaces that make it unique.

    A few examples are equal, and GitHub never sends the same bytes twice.
    """
    return to_bytes(example) + b" " * next(_SENT)


@pytest.fixture
async def hello_world(towpath: Towpath) -> AsyncIterator[Scene]:
    """Register the repository of the examples, with the table's pipeline. Delete it afterwards."""
    person = await towpath.person()
    repository = FakeRepository(REPOSITORY, FORGE_ID)
    body = {"full_name": REPOSITORY, "forge_id": FORGE_ID, "clone_url": repository.clone_url}
    record = (await towpath.admin.post("/repositories", body)).expect(201).json
    (
        await towpath.admin.put(f"/repositories/{record['id']}/grants/{person.id}", {"role": "maintainer"})
    ).expect(200)
    yield Scene(towpath, person, repository, await towpath.pipeline(person, PIPELINE))
    (await towpath.admin.delete(f"/repositories/{record['id']}")).expect(204)


def test_the_table_has_every_push_and_pull_request() -> None:
    assert [expected.name for expected in EXPECTATIONS] == [
        name for event in ("push", "pull_request") for name, _ in examples(event)
    ]


@pytest.mark.parametrize("expected", EXPECTATIONS, ids=lambda expected: expected.name)
async def test_a_push_or_pull_request_becomes_what_the_table_says(
    hello_world: Scene, expected: Expectation
) -> None:
    towpath = hello_world.towpath
    example = dict(examples(expected.event_type))[expected.name]
    answer = (await towpath.deliver(body_of(example), event=expected.event_type)).expect(202)
    delivery = await outcome_of(towpath, answer.json["delivery_id"])

    assert delivery["outcome"] == expected.outcome, expected.why
    assert delivery["reason"]
    if expected.decision is None:
        assert delivery["event_id"] is None
        return
    event = await event_of(towpath, delivery["delivery_id"])
    assert {name: event[name] for name in expected.fields} == expected.fields
    assert event["sender_login"] == example["sender"]["login"]
    [decision] = [
        one for one in event["decisions"] if one["pipeline_config_id"] == hello_world.pipeline["id"]
    ]
    assert verdict(decision) == (expected.decision, expected.code), expected.why
    if expected.decision != "run":
        assert decision["run_id"] is None
        return
    run = await hello_world.run(decision["run_id"])
    assert (run["sha"], run["triggered_by"]) == (event["sha"], f"github:{example['sender']['login']}")


async def test_every_other_event_is_accepted_and_recorded_as_ignored(towpath: Towpath) -> None:
    others = [
        (event, name, body) for event in events() if event not in MEANINGFUL for name, body in examples(event)
    ]
    assert len(others) > 250
    gate = asyncio.Semaphore(AT_ONCE)

    async def fate(event: str, body: Document) -> tuple[int, str | None]:
        async with gate:
            answer = await towpath.deliver(body_of(body), event=event)
            if answer.status != 202:
                return answer.status, None
            return 202, (await outcome_of(towpath, answer.json["delivery_id"]))["outcome"]

    fates = await asyncio.gather(*(fate(event, body) for event, _, body in others))
    wanted = {name: (200, None) if event == "ping" else (202, "ignored") for event, name, _ in others}
    assert {name: found for (_, name, _), found in zip(others, fates, strict=True)} == wanted
