"""X5: users who create pipelines and tokens without limit.

Only administrators can register repositories.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.harness.client import Answer, Client
from tests.integration.gateway.serving import PIPELINE, Serving, make_settings, serving

THINGS: dict[str, dict[str, Any]] = {
    "pipelines": {"yaml_config": PIPELINE.format(repository="octo/web")},
    "tokens": {},
}
LIMIT = 3


async def make(client: Client, thing: str, number: int) -> Answer:
    return await client.post(f"/{thing}", THINGS[thing] | {"name": f"n{number}"})


@pytest.mark.parametrize("thing", THINGS)
async def test_x05_a_user_may_have_so_many(
    database_url: str, amqp_url: str, tmp_path: Path, thing: str
) -> None:
    settings = make_settings(database_url, amqp_url, tmp_path, **{f"{thing}_per_user": LIMIT})
    async with serving(settings, None) as served:
        _, user = await served.person()
        room = LIMIT - (thing == "tokens")  # the user's first token counts
        answers = await asyncio.gather(*(make(user, thing, number) for number in range(room + 4)))
        assert sorted(answer.status for answer in answers) == [201] * room + [409] * 4
        refused = next(answer for answer in answers if answer.status == 409)
        assert refused.json["type"] == f"urn:towpath:problem:too_many_{thing}"
        assert f"TOWPATH_{thing.upper()}_PER_USER" in refused.json["detail"]
        made = next(answer for answer in answers if answer.status == 201).json
        (await user.delete(f"/{thing}/{made['id']}")).expect(204)
        (await make(user, thing, 100)).expect(201)
        (await make(user, thing, 101)).expect(409)
        await others_are_free(served, thing)


async def others_are_free(served: Serving, thing: str) -> None:
    _, other = await served.person()
    (await make(other, thing, 200)).expect(201)
    for number in range(LIMIT + 1):
        (await make(served.admin, thing, 300 + number)).expect(201)


async def test_x05_an_expired_token_makes_room(database_url: str, amqp_url: str, tmp_path: Path) -> None:
    async with serving(make_settings(database_url, amqp_url, tmp_path, tokens_per_user=2), None) as served:
        _, user = await served.person()
        made = (await make(user, "tokens", 1)).expect(201).json
        (await make(user, "tokens", 2)).expect(409)
        await served.rows(
            "UPDATE api_tokens SET expires_at = now() - interval '1 s' WHERE id = $1", made["id"]
        )
        (await make(user, "tokens", 3)).expect(201)
