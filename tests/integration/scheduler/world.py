"""The environment of the scheduler in tests.

It writes rows as the gateway and the executor do, and reads back what the scheduler stored.
"""

import hashlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson
import zstandard
from pydantic import SecretStr

from services.scheduler.admission import Admission, Limits
from services.scheduler.approvals import Forks
from services.scheduler.consumers import Consumers
from services.scheduler.reconciler import Checks
from services.scheduler.revisions import Revisions
from services.scheduler.settings import SchedulerSettings
from services.scheduler.store import open_store
from shared.database.store import Database, open_database
from shared.messaging.messages import (
    AttemptClaimed,
    AttemptFinished,
    CommandRequested,
    DeliveryAccepted,
    decode,
)
from shared.pipeline.globs import repository_keys
from shared.pipeline.load import load
from tests.harness.databases import database_settings
from tests.harness.github import FakeRepository

ONE_JOB = """
version: 1
repository: octo/web
on: { push: {}, pull_request: {} }
jobs:
  build: { steps: [{ run: make }] }
"""

CHAIN = """
version: 1
repository: octo/web
on: { push: {} }
jobs:
  first: { steps: [{ run: make }] }
  second: { needs: [first], steps: [{ run: make }] }
  third: { needs: [second], steps: [{ run: make }] }
"""

TWO_JOBS = """
version: 1
repository: octo/web
on: { push: {} }
jobs:
  left: { steps: [{ run: make }] }
  right: { steps: [{ run: make }] }
"""


@dataclass
class Scheduler:
    """The parts of one scheduler process, without its bus."""

    consumers: Consumers
    admission: Admission
    checks: Checks


class World:
    """A database with one scheduler, and one user who is maintainer of every registered repository."""

    def __init__(self, database: Database, connection: Any, url: str) -> None:
        self.database = database
        self.sql = connection
        self.url = url
        self.octo_web = FakeRepository("octo/web")
        self.scheduler = self.another_scheduler()
        self.user_id = 0
        self.repository_id = 0
        self.pipeline_id = 0

    @property
    def consumers(self) -> Consumers:
        return self.scheduler.consumers

    @property
    def admission(self) -> Admission:
        return self.scheduler.admission

    def another_scheduler(self, *, over_all: int = 64, of_repository: int = 32, **settings: Any) -> Scheduler:
        store = open_store(self.database)
        admission = Admission(store, Limits(over_all, of_repository), "local")
        quick = {"reconcile_age_seconds": 0.001, "deadline_grace_seconds": 0.000001}
        chosen = SchedulerSettings(
            database_url=SecretStr(self.url), amqp_url=SecretStr("amqp://unused"), **(quick | settings)
        )
        forks = Forks(can_run=chosen.backend == "kubernetes", approval_seconds=chosen.approval_seconds)
        consumers = Consumers(store, Revisions(), admission, forks)
        return Scheduler(consumers, admission, Checks(store, consumers, admission, chosen))

    async def settle(self) -> "World":
        self.user_id = await self.user("mona", is_admin=False)
        return self

    async def user(self, name: str, *, is_admin: bool = False) -> int:
        user_id: int = await self.value(
            "INSERT INTO users (name, email, is_admin) VALUES ($1, $1 || '@example.org', $2) RETURNING id",
            name,
            is_admin,
        )
        return user_id

    async def repository(
        self,
        full_name: str = "octo/web",
        *,
        forge: str = "github",
        forge_id: int | None = None,
        target_type: str | None = None,
    ) -> int:
        """Register a repository of which the user is maintainer. Return its id."""
        repository_id = await self.value(
            "INSERT INTO repositories (forge, forge_id, full_name, clone_url, hook_key, hook_target_type, "
            "created_by)"
            " VALUES ($1, $2, $3, 'https://example.org/x.git', $4, $5, $6) RETURNING id",
            forge,
            forge_id,
            full_name,
            secrets.token_hex(8),
            target_type,
            self.user_id,
        )
        await self.sql.execute(
            "INSERT INTO grants (repository_id, user_id, role) VALUES ($1, $2, 'maintainer')",
            repository_id,
            self.user_id,
        )
        return int(repository_id)

    async def pipeline(
        self, yaml: str = ONE_JOB, *, owner: int | None = None, name: str | None = None
    ) -> int:
        model = load(yaml)
        owner = owner or self.user_id
        pipeline_id = await self.value(
            "INSERT INTO pipeline_configs (name, yaml_config, repository_keys, created_by) VALUES ($1, $2, "
            "$3, $4) RETURNING id",
            name or secrets.token_hex(4),
            yaml,
            list(repository_keys(model.repositories)),
            owner,
        )
        await self.save(pipeline_id, yaml, owner=owner)
        return int(pipeline_id)

    async def save(self, pipeline_id: int, yaml: str, *, owner: int | None = None) -> int:
        """Insert a new revision of a pipeline. Return its id."""
        revision_id = await self.value(
            "INSERT INTO pipeline_revisions (pipeline_config_id, number, yaml_config, model, created_by)"
            " VALUES ($1, 1 + (SELECT count(*) FROM pipeline_revisions WHERE pipeline_config_id = $1), $2, "
            "$3::text::jsonb, $4) RETURNING id",
            pipeline_id,
            yaml,
            load(yaml).model_dump_json(),
            owner or self.user_id,
        )
        await self.sql.execute(
            "UPDATE pipeline_configs SET revision_id = $2 WHERE id = $1", pipeline_id, revision_id
        )
        return int(revision_id)

    async def delivery(
        self,
        payload: Any,
        event_type: str = "push",
        *,
        source: str = "github",
        age_seconds: float = 0,
        **headers: str,
    ) -> int:
        """Store a delivery as the gateway does, but send no message. Return its id.

        Keyword arguments are headers, with underscores instead of hyphens.
        """
        body = payload if isinstance(payload, bytes) else orjson.dumps(payload)
        named = {"content-type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        return int(
            await self.value(
                "INSERT INTO deliveries (source, delivery_id, event_type, headers, body, body_sha256, "
                "body_bytes, received_at, created_at)"
                " VALUES ($1, $2, $3, $4::text::jsonb, $5, $6, $7, now() - make_interval(secs => $8), "
                "now() - make_interval(secs => $8)) RETURNING id",
                source,
                str(uuid4()),
                event_type,
                orjson.dumps(named).decode(),
                zstandard.compress(body),
                hashlib.sha256(body).digest(),
                len(body),
                age_seconds,
            )
        )

    async def deliver(self, payload: Any, event_type: str = "push", **more: Any) -> int:
        """Store a delivery and decide it. Return its id."""
        delivery_id = await self.delivery(payload, event_type, **more)
        await self.decide(delivery_id)
        return delivery_id

    async def decide(self, *delivery_ids: int) -> None:
        await self.consumers.on_deliveries([DeliveryAccepted(delivery_ids=delivery_ids)])

    async def outcome(self, delivery_id: int) -> str:
        return str(
            await self.value("SELECT outcome FROM delivery_outcomes WHERE delivery_id = $1", delivery_id)
        )

    async def only_run(self) -> Any:
        (run,) = await self.rows("SELECT * FROM pipeline_runs")
        return run

    async def jobs(self, run_id: int | None = None) -> dict[str, Any]:
        """Return the jobs of a run, or of all runs, by name."""
        return {
            job["name"]: job
            for job in await self.rows(
                "SELECT * FROM jobs WHERE run_id = $1 OR $1 IS NULL ORDER BY id", run_id
            )
        }

    async def statuses(self, run_id: int | None = None) -> dict[str, str]:
        return {name: job["status"] for name, job in (await self.jobs(run_id)).items()}

    async def claim(self, job_id: int) -> int:
        """Insert the next attempt of the job, with a claimed pod. Send no message."""
        return int(
            await self.value(
                "INSERT INTO attempts (job_id, number, status, cluster, creation_token, pod_uid, claimed_at)"
                " SELECT id, wanted_attempt, 'claimed', cluster, 'token', 'uid', clock_timestamp() FROM "
                "jobs WHERE id = $1 RETURNING id",
                job_id,
            )
        )

    async def finish(self, attempt_id: int, outcome: str = "success", reason: str | None = None) -> None:
        """Store the executor's verdict on an attempt. Send no message."""
        await self.sql.execute(
            "UPDATE attempts SET status = 'finished', outcome = $2, reason = $3, finished_at = "
            "clock_timestamp() WHERE id = $1",
            attempt_id,
            outcome,
            reason,
        )

    async def tell_claimed(self, *attempt_ids: int) -> None:
        await self.consumers.on_attempt_facts([AttemptClaimed(attempt_ids=attempt_ids)])

    async def tell_finished(self, *attempt_ids: int) -> None:
        await self.consumers.on_attempt_facts([AttemptFinished(attempt_ids=attempt_ids)])

    async def run_job(self, job_id: int, outcome: str = "success", reason: str | None = None) -> int:
        """Claim and finish an attempt of an admitted job, with the messages. Return the attempt's id."""
        attempt_id = await self.claim(job_id)
        await self.tell_claimed(attempt_id)
        await self.finish(attempt_id, outcome, reason)
        await self.tell_finished(attempt_id)
        return attempt_id

    async def command(self, kind: str, run_id: int, **arguments: Any) -> int:
        """Store a user's command as the gateway does, but send no message. Return its id."""
        return int(
            await self.value(
                "INSERT INTO commands (kind, run_id, arguments, requested_by) VALUES ($1, $2, "
                "$3::text::jsonb, $4) RETURNING id",
                kind,
                run_id,
                orjson.dumps(arguments).decode(),
                self.user_id,
            )
        )

    async def apply(self, *command_ids: int) -> None:
        await self.consumers.on_commands([CommandRequested(command_ids=command_ids)])

    async def effect(self, command_id: int) -> tuple[str, str]:
        row = await self.sql.fetchrow(
            "SELECT outcome, reason FROM command_effects WHERE command_id = $1", command_id
        )
        return row["outcome"], row["reason"]

    async def sent(self, kind: str) -> list[Any]:
        """Return the messages of this type in the outbox, in order."""
        return [
            decode(row["message"])
            for row in await self.rows("SELECT message FROM outbox WHERE type = $1 ORDER BY id", kind)
        ]

    async def forget_messages(self) -> None:
        await self.sql.execute("DELETE FROM outbox")

    async def rows(self, sql: str, *arguments: Any) -> list[Any]:
        return list(await self.sql.fetch(sql, *arguments))

    async def value(self, sql: str, *arguments: Any) -> Any:
        return await self.sql.fetchval(sql, *arguments)


@asynccontextmanager
async def open_world(url: str) -> AsyncIterator[World]:
    async with open_database(database_settings(url)) as database, database.connection() as connection:
        yield await World(database, connection, url).settle()
