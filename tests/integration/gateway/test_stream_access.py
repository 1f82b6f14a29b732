"""An open log stream ends soon after its viewer loses access to the run."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp
import pytest

from tests.harness.client import Client
from tests.integration.gateway.history import History
from tests.integration.gateway.serving import Serving
from tests.integration.gateway.test_logs import Printing, Watcher

pytestmark = pytest.mark.alone("an end within 5 s is measured")


@pytest.fixture
def served(shared_gateway: Serving) -> Serving:
    return shared_gateway


@dataclass
class Viewing:
    """A viewer of a run, whose token was created with another token of the same user."""

    served: Serving
    printing: Printing
    user_id: int
    parent_id: int
    token_id: int
    token: str
    client: Client

    async def revoke(self) -> None:
        (await self.served.admin.delete(f"/tokens/{self.token_id}")).expect(204)

    async def revoke_parent(self) -> None:
        (await self.served.admin.delete(f"/tokens/{self.parent_id}")).expect(204)

    async def expire(self) -> None:
        await self.served.rows("UPDATE api_tokens SET expires_at = now() WHERE id = $1", self.token_id)

    async def disable(self) -> None:
        (await self.served.admin.delete(f"/users/{self.user_id}")).expect(204)

    async def withdraw(self) -> None:
        path = f"/repositories/{self.printing.repository['id']}/grants/{self.user_id}"
        (await self.served.admin.delete(path)).expect(204)

    async def demote(self) -> None:
        """Turn the administrator, who sees all runs, into a user without a grant."""
        await self.withdraw()
        await self.served.rows("UPDATE users SET is_admin = false WHERE id = $1", self.user_id)


@pytest.fixture
async def viewing(served: Serving, history: History) -> Viewing:
    printing = await Printing(served, history).begin()
    user_id, person = await served.person()
    path = f"/repositories/{printing.repository['id']}/grants/{user_id}"
    (await served.admin.put(path, {"role": "viewer"})).expect(200)
    parent = (await person.post("/tokens", {"name": "parent"})).expect(201).json
    token = (await person.as_(parent["token"]).post("/tokens", {"name": "viewer"})).expect(201).json
    client = person.as_(token["token"])
    return Viewing(served, printing, user_id, parent["id"], token["id"], token["token"], client)


LOSSES: dict[str, Callable[[Viewing], Awaitable[None]]] = {
    "token revoked": Viewing.revoke,
    "parent token revoked": Viewing.revoke_parent,
    "token expired": Viewing.expire,
    "user disabled": Viewing.disable,
    "grant withdrawn": Viewing.withdraw,
    "administrator demoted": Viewing.demote,
}


@pytest.mark.parametrize("loss", LOSSES)
async def test_x07_a_stream_ends_within_5_seconds_of_losing_access(viewing: Viewing, loss: str) -> None:
    if loss == "administrator demoted":
        await viewing.served.rows("UPDATE users SET is_admin = true WHERE id = $1", viewing.user_id)
    printing = viewing.printing
    watcher, owner = Watcher(viewing.client, printing.path), Watcher(printing.owner, printing.path)
    await printing.print(b"one\n")
    await watcher.sees("one")
    await owner.sees("one")

    await LOSSES[loss](viewing)
    await asyncio.wait_for(watcher.task, 5)

    await printing.print(b"two\n")
    await owner.sees("one", "two")
    assert watcher.lines == ["one"]
    assert watcher.events[-1].kind != "end"
    owner.task.cancel()
    refused = await viewing.client.get(f"{printing.path}/stream")
    assert refused.status in {401, 404}


async def test_x07_a_stream_whose_client_reads_nothing_ends_too(viewing: Viewing) -> None:
    printing, live = viewing.printing, viewing.served.gateway.live
    watch = live.watch(printing.run_id)
    for _ in range(300):
        await printing.print(b"x" * 60_000 + b"\n", with_notification=False)
    headers = {"Authorization": f"Bearer {viewing.token}"}
    url = f"{viewing.served.url}{printing.path}/stream"
    async with viewing.served.session.get(url, headers=headers) as response:
        assert (response.status, watch.watchers) == (200, 2)
        await viewing.revoke()
        async with asyncio.timeout(5):
            while watch.watchers > 1:
                await watch.heard_since(watch.version, 0.05)
    live.unwatch(watch)


async def test_x07_a_download_that_lasts_is_cut(viewing: Viewing) -> None:
    printing = viewing.printing
    for _ in range(300):
        await printing.print(b"x" * 60_000 + b"\n", with_notification=False)
    headers = {"Authorization": f"Bearer {viewing.token}"}
    url = f"{viewing.served.url}{printing.path}"
    async with viewing.served.session.get(url, headers=headers) as response:
        assert response.status == 200
        await viewing.revoke()
        await viewing.served.gateway.viewers.check()
        with pytest.raises(aiohttp.ClientPayloadError):
            await response.read()
