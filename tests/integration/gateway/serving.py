"""A gateway in the test's own process, on real servers."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg

from services.gateway.bootstrap import make_first_admin
from services.gateway.gateway import Gateway, build_gateway
from services.gateway.http.app import build_app
from services.gateway.http.connections import connection_limits
from services.gateway.http.listener import ListenerSite
from services.gateway.http.unparsed import Runner
from services.gateway.settings import GatewaySettings
from shared.database.store import open_database
from shared.messaging.bus import open_bus
from tests.harness.client import Answer, Client
from tests.harness.github import signed_headers

GITHUB_SECRET = "It's a Secret to Everybody"
OLD_GITHUB_SECRET = "the one before"
GITEA_SECRET = "nobody knows"

PIPELINE = """\
version: 1
repository: {repository}
on: {{ push: {{}} }}
jobs:
  only:
    steps:
      - run: echo hi
"""


@dataclass
class Serving:
    """The gateway, its address, and clients of it. Its database is `database_url`."""

    gateway: Gateway
    url: str
    database_url: str
    session: aiohttp.ClientSession
    admin: Client
    runner: Runner
    made: Iterator[int] = field(default_factory=count)

    @property
    def anonymous(self) -> Client:
        return self.admin.as_(None)

    async def person(self, scopes: tuple[str, ...] = ("read", "write")) -> tuple[int, Client]:
        """Create a user. Return the user's id and a client with a token."""
        user = (
            (
                await self.admin.post(
                    "/users", {"name": "someone", "email": f"someone-{next(self.made)}@example.org"}
                )
            )
            .expect(201)
            .json
        )
        token = (
            (
                await self.admin.post(
                    "/tokens", {"name": "test", "scopes": list(scopes), "user_id": user["id"]}
                )
            )
            .expect(201)
            .json["token"]
        )
        return user["id"], self.admin.as_(token)

    async def repository(self, full_name: str | None = None, **fields: Any) -> dict[str, Any]:
        body = {
            "full_name": full_name or f"octo/web-{next(self.made)}",
            "clone_url": "https://github.example/octo/web.git",
            **fields,
        }
        record: dict[str, Any] = (await self.admin.post("/repositories", body)).expect(201).json
        return record

    async def pipeline(
        self, client: Client, name: str = "web-ci", repository: str = "octo/web"
    ) -> dict[str, Any]:
        record: dict[str, Any] = (
            (
                await client.post(
                    "/pipelines", {"name": name, "yaml_config": PIPELINE.format(repository=repository)}
                )
            )
            .expect(201)
            .json
        )
        return record

    async def deliver(
        self,
        body: bytes,
        *,
        path: str = "/webhooks/github",
        secret: str = GITHUB_SECRET,
        event: str = "push",
        **headers: str | None,
    ) -> Answer:
        """Send a signed GitHub webhook. A header that is None is left out."""
        sent = signed_headers(secret, body, event=event) | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        kept = {name: value for name, value in sent.items() if value is not None}
        return await self.anonymous.request("POST", path, raw=body, headers=kept)

    async def rows(self, query: str, *arguments: Any) -> list[Any]:
        connection = await asyncpg.connect(self.database_url)
        try:
            return list(await connection.fetch(query, *arguments))
        finally:
            await connection.close()

    async def count(self, table: str) -> int:
        return int((await self.rows(f"SELECT count(*) FROM {table}"))[0][0])


def make_settings(database_url: str, amqp_url: str, directory: Path, **fields: Any) -> GatewaySettings:
    key_file = directory / "key"
    if not key_file.exists():
        key_file.write_text(f"k1:{base64.b64encode(os.urandom(32)).decode()}\n")
    values: dict[str, Any] = {
        "database_url": database_url,
        "amqp_url": amqp_url,
        "encryption_key_file": key_file,
        "github_webhook_secret": f"{GITHUB_SECRET},{OLD_GITHUB_SECRET}",
        "gitea_webhook_secret": GITEA_SECRET,
        "database_wait_seconds": 10,  # a test machine may be slow; tests about time set their own
        **fields,
    }
    return GatewaySettings(**values)


@asynccontextmanager
async def serving(settings: GatewaySettings, token: str | None) -> AsyncIterator[Serving]:
    """Run a gateway with all its background tasks.

    `token` is an administrator's token. If it is None, the first administrator is created.
    """
    if token is None:
        token = await make_first_admin(settings, "admin@example.org")
    async with (
        open_database(settings) as database,
        open_bus(settings, "gateway-test") as bus,
        aiohttp.ClientSession() as session,
    ):
        gateway = build_gateway(settings, database, bus)
        limits = connection_limits(settings)
        runner = Runner(build_app(gateway), limits=limits, access_log=None, shutdown_timeout=2)
        await runner.setup()
        site = ListenerSite(runner, "127.0.0.1", 0)
        await site.start()
        tasks = [asyncio.create_task(task.run()) for task in gateway.tasks]
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield Serving(
                gateway,
                url,
                settings.database_url.get_secret_value(),
                session,
                Client(session, url, token),
                runner,
            )
        finally:
            await _end(tasks)
            await runner.cleanup()


async def _end(tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Cancel the tasks until all have ended.

    A task that receives its result at the same moment can miss the cancellation. It is cancelled again.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=1)
