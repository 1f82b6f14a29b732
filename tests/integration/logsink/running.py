"""A log sink in this process, with a real Postgres, and the attempts whose logs it stores."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import orjson

from services.logsink import store as store_module
from services.logsink.committer import Committer, keep
from services.logsink.follower import Pace
from services.logsink.opening import Followers, SourceOf, read_here
from services.logsink.segments import unpack
from services.logsink.sink import Sink
from services.logsink.store import Append, LogStore, LogWork, Reach
from services.logsink.wakeups import Wakeups
from shared.crypto import Keyring
from shared.database.store import Queries, Store, open_database
from tests.harness.databases import database_settings
from tests.harness.waiting import until

PACE = Pace(quiet_seconds=0.02, flow_seconds=0.05, check_seconds=0.2, silence_seconds=86_400)
KEYRING = Keyring({"a": b"k" * 32})


class Record:
    """Writes and reads the rows that belong to a log, without the log sink."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        self.connection = connection

    async def attempt(
        self,
        location: Path | str,
        containers: Sequence[str] = ("job",),
        *,
        repository_id: int | None = None,
        cluster: str = "local",
    ) -> int:
        """Insert a claimed attempt in a run of its own. Return its id."""
        repository_id = repository_id or await self.repository()
        user = await self.connection.fetchval("SELECT min(id) FROM users")
        config = await self.connection.fetchval(
            "INSERT INTO pipeline_configs (name, yaml_config, repository_keys, created_by) VALUES "
            "(gen_random_uuid()::text, '', '{}', $1) RETURNING id",
            user,
        )
        revision = await self.connection.fetchval(
            "INSERT INTO pipeline_revisions (pipeline_config_id, number, yaml_config, model, created_by) "
            "VALUES ($1, 1, '', '{}', $2) RETURNING id",
            config,
            user,
        )
        event = await self.connection.fetchval(
            "INSERT INTO events (kind, repository, trusted, received_at) VALUES ('push', 'octo/web', true, "
            "now()) RETURNING id"
        )
        run = await self.connection.fetchval(
            "INSERT INTO pipeline_runs (pipeline_config_id, revision_id, event_id, number, triggered_by, "
            "repository_id, event_kind, timeout_seconds)"
            " VALUES ($1, $2, $3, 1, 'user:1', $4, 'push', 60) RETURNING id",
            *(config, revision, event, repository_id),
        )
        job = await self.connection.fetchval(
            "INSERT INTO jobs (run_id, name, position, definition, repository_id) VALUES ($1, 'only', 0, "
            "'{}', $2) RETURNING id",
            run,
            repository_id,
        )
        attempt: int = await self.connection.fetchval(
            "INSERT INTO attempts (job_id, number, status, cluster, creation_token, log_location, "
            "containers, claimed_at)"
            " VALUES ($1, 1, 'claimed', $4, 't', $2, $3, now()) RETURNING id",
            *(job, str(location), list(containers), cluster),
        )
        return attempt

    async def repository(self, clone_token: bytes | None = None) -> int:
        user = await self.connection.fetchval(
            "INSERT INTO users (name, email) VALUES ('o', gen_random_uuid()::text) RETURNING id"
        )
        repository: int = await self.connection.fetchval(
            "INSERT INTO repositories (forge, full_name, clone_url, hook_key, created_by)"
            " VALUES ('github', gen_random_uuid()::text, 'https://e.org/x', gen_random_uuid()::text, $1) "
            "RETURNING id",
            user,
        )
        if clone_token is not None:
            sealed = KEYRING.encrypt(clone_token, table="repositories", column="clone_token", row=repository)
            await self.connection.execute(
                "UPDATE repositories SET clone_token = $2 WHERE id = $1", repository, sealed
            )
        return repository

    async def stream(self, attempt_id: int, container: str = "job") -> dict[str, Any] | None:
        row = await self.connection.fetchrow(
            "SELECT * FROM log_streams WHERE attempt_id = $1 AND container = $2", attempt_id, container
        )
        return {**row, "gaps": orjson.loads(row["gaps"])} if row else None

    async def sealed(self, attempt_id: int, container: str = "job", *, within: float = 10) -> dict[str, Any]:
        """Wait until the stream is sealed and return it. Check that it agrees with its segments."""

        async def check() -> dict[str, Any] | None:
            stream = await self.stream(attempt_id, container)
            return stream if stream and stream["sealed_at"] else None

        stream = await until(check, within=within, what=f"the seal of {container} of attempt {attempt_id}")
        text = await self.text(attempt_id, container)
        assert stream["sha256"] == hashlib.sha256(text).digest()
        assert stream["stored_bytes"] == len(text)
        assert stream["next_line"] == 1 + len(text.split(b"\n")) - text.endswith(b"\n") - (not text)
        return stream

    async def text(self, attempt_id: int, container: str = "job") -> bytes:
        """Return all stored bytes in order. Check that no segment or line is missing."""
        rows = await self.connection.fetch(
            "SELECT g.* FROM log_segments g JOIN log_streams s ON s.id = g.stream_id WHERE s.attempt_id = "
            "$1 AND s.container = $2 ORDER BY seq",
            *(attempt_id, container),
        )
        line = 1
        for seq, row in enumerate(rows):
            assert (row["seq"], row["first_line"]) == (seq, line)
            line += row["line_count"]
        return b"".join(unpack(row["data"], row["raw_bytes"]) for row in rows)

    async def sent(self) -> list[dict[str, Any]]:
        return [
            orjson.loads(row["message"])
            for row in await self.connection.fetch("SELECT message FROM outbox ORDER BY id")
        ]


@dataclass
class RunningSink:
    """One log sink. `rung` collects the notifications that gateways would receive."""

    sink: Sink
    followers: Followers
    committer: Committer
    store: LogStore
    rung: list[Append]
    tasks: list["asyncio.Task[None]"]

    def kill(self) -> None:
        """Stop as with `kill -9`: finish no work and give back no lease."""
        for _, task in [*self.sink._streams.values()]:
            task.cancel()
        self.sink._streams.clear()
        for task in self.tasks:
            task.cancel()


@contextlib.asynccontextmanager
async def running_sink(
    url: str,
    *,
    lease_seconds: float = 5,
    pace: Pace = PACE,
    source_of: SourceOf | None = None,
    reach: Callable[[], Reach] = lambda: Reach(files=True),
) -> AsyncIterator[RunningSink]:
    """Run a log sink that opens streams on request. It takes over streams only on request too.

    Without `source_of` it reads files of the local cluster.
    """
    settings = database_settings(url)
    queries = Queries.beside(str(store_module.__file__))
    with contextlib.closing(Wakeups()) as wakeups:
        async with open_database(settings) as database:
            store = Store(database, queries, LogWork, owner="logsink")
            rung: list[Append] = []
            committer = Committer(
                partial(keep, store), rung.append, most_bytes=16 << 20, most_stream_bytes=4 << 20
            )
            followers = Followers(
                store, committer, source_of or read_here(wakeups, {}, 10 << 20), KEYRING, pace
            )
            sink = Sink(store, followers.follower_of, reach, lease_seconds=lease_seconds, most_taken=50)
            tasks = [asyncio.create_task(runnable.run()) for runnable in (committer, wakeups, sink)]
            try:
                yield RunningSink(sink, followers, committer, store, rung, tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
