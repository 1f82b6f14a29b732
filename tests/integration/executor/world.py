"""The environment of the executor in tests.

It inserts jobs as a scheduler admits them, and reads back what the executor stored.
"""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import asyncpg
from pydantic import SecretStr

from services.executor.attempt_store import Place
from services.executor.attempts import Attempts, Watching
from services.executor.backend import AttemptSpec, Backend, Phase
from services.executor.consumers import Consumers
from services.executor.git_queries import GitQueries
from services.executor.kubernetes.backend import KubernetesBackend
from services.executor.kubernetes.opening import open_kubernetes_cluster
from services.executor.local.backend import LocalBackend
from services.executor.local.opening import open_local_cluster
from services.executor.planning import name_of, plan
from services.executor.reconciler import Checks
from services.executor.refs import Refs
from services.executor.settings import ExecutorSettings
from services.executor.store import Wanted, installation_of, open_store
from services.executor.tokens import clone_token_opener
from shared.database.store import Database, open_database
from shared.messaging.messages import decode
from shared.pipeline.model import Job, Step
from tests.harness.waiting import until

C = TypeVar("C", bound=Backend)


@dataclass
class Executor(Generic[C]):
    """The parts of one executor process, without its bus."""

    attempts: Attempts
    consumers: Consumers
    checks: Checks
    cluster: C
    watching: Watching


Local = Executor[LocalBackend]


class World:
    """A database with one run, and a folder for pods.

    Jobs are added to the run as if a scheduler had admitted them.
    """

    def __init__(self, database: Database, sql: Any, settings: ExecutorSettings) -> None:
        self.database = database
        self.sql = sql
        self.settings = settings
        self.store = open_store(database, None)
        self.installation = ""

    async def settle(self) -> None:
        self.installation = await installation_of(self.store)
        await self.sql.execute(
            """WITH u AS (INSERT INTO users (name, email) VALUES ('mona', 'mona@example.org') RETURNING id),
            p AS (INSERT INTO repositories (forge, full_name, clone_url, hook_key, created_by)
                  SELECT 'github', 'octo/web', 'file:///nowhere', 'k', id FROM u RETURNING id),
            c AS (INSERT INTO pipeline_configs (name, yaml_config, repository_keys, created_by)
                  SELECT 'ci', '', '{}', id FROM u RETURNING id, created_by),
            v AS (INSERT INTO pipeline_revisions (pipeline_config_id, number, yaml_config, model, created_by)
                  SELECT id, 1, '', '{}', created_by FROM c RETURNING id),
            e AS (INSERT INTO events (kind, repository_id, repository, ref, branch, sha, trusted, received_at)
                  SELECT 'push', id, 'octo/web', 'refs/heads/main', 'main', repeat('a', 40), true, now()
                    FROM p RETURNING id, repository_id)
            INSERT INTO pipeline_runs (pipeline_config_id, revision_id, event_id, number, triggered_by,
                                       repository_id, event_kind, timeout_seconds)
            SELECT c.id, v.id, e.id, 1, 'github:mona', e.repository_id, 'push', 600 FROM c, v, e"""
        )

    @asynccontextmanager
    async def executor(self) -> AsyncIterator[Executor[LocalBackend]]:
        async with open_local_cluster(self.settings, self.installation) as cluster:
            yield self._executor(cluster)

    @asynccontextmanager
    async def on_kubernetes(self) -> AsyncIterator[Executor[KubernetesBackend]]:
        async with open_kubernetes_cluster(self.settings, self.installation) as cluster:
            yield self._executor(cluster)

    def _executor(self, cluster: C) -> Executor[C]:
        opener = clone_token_opener(self.settings.encryption_key_file)
        attempts = Attempts(self.store, cluster, Place("local", self.installation), opener, self.settings)
        queries = GitQueries(seconds=30, at_once=2, allow_local=True)
        refs = Refs(self.store, queries, "local", opener, give_up_seconds=600)
        return Executor(
            attempts,
            Consumers(attempts, refs),
            Checks(self.store, attempts, refs, self.settings),
            cluster,
            Watching(attempts, cluster),
        )

    # ------------------------------------------------ what a scheduler writes

    async def job(self, script: str = ":", *, admitted_seconds_ago: float = 60, **fields: Any) -> Wanted:
        """Insert an admitted job whose first attempt does not exist yet."""
        position = await self.sql.fetchval("SELECT count(*) FROM jobs")
        definition = Job(
            **{"name": f"job-{position}", "steps": (Step(run=script),), "checkout": None, **fields}
        )
        job_id = await self.sql.fetchval(
            "INSERT INTO jobs (run_id, name, position, definition, repository_id, wanted_attempt, "
            "ready_at, admitted_at)"
            " SELECT id, $1, $2, $3::text::jsonb, repository_id, 1, now(), now() - $4 * interval '1 s' "
            "FROM pipeline_runs RETURNING id",
            definition.name,
            position,
            definition.model_dump_json(),
            admitted_seconds_ago,
        )
        return job_id, 1

    async def inserted(self, wanted: Wanted) -> AttemptSpec:
        """Insert an attempt's row, as left by an executor that dies before it creates the pod.

        Returns the specification of that pod.
        """
        async with self.store.transaction() as work:
            await work.insert_attempts("local", [wanted], ["token"])
            candidates = await work.to_start("local", [wanted])
        planned = plan(candidates[0], self.installation, lambda *_: "")
        assert isinstance(planned, AttemptSpec)
        return planned

    async def request_stop(self, wanted: Wanted, reason: str = "cancelled_by_user") -> None:
        await self.sql.execute(
            "UPDATE jobs SET cancel_requested_at = now() - interval '1 minute', cancel_reason = $2 WHERE "
            "id = $1",
            wanted[0],
            reason,
        )

    async def seal_logs(self, attempt_id: int) -> None:
        """Seal the attempt's logs, as the log sink does when it has read everything."""
        await self.sql.execute(
            "INSERT INTO log_streams (attempt_id, container, run_id, job_id, location, sealed_at)"
            " SELECT a.id, unnest(a.containers), j.run_id, a.job_id, a.log_location, now() FROM attempts a "
            "JOIN jobs j ON j.id = a.job_id WHERE a.id = $1",
            attempt_id,
        )

    # ------------------------------------------------ what the executor wrote

    async def attempt(self, wanted: Wanted) -> Any:
        return await self.sql.fetchrow("SELECT * FROM attempts WHERE job_id = $1 AND number = $2", *wanted)

    async def path(self, wanted: Wanted) -> list[str]:
        """Return the statuses that the attempt went through, in order."""
        rows = await self.sql.fetch(
            "SELECT t.to_status FROM attempt_transitions t JOIN attempts a ON a.id = t.attempt_id WHERE "
            "a.job_id = $1 ORDER BY t.id",
            wanted[0],
        )
        return [row["to_status"] for row in rows]

    async def sent(self) -> list[str]:
        """Return the types of the messages in the outbox, in order."""
        rows = await self.sql.fetch("SELECT message FROM outbox ORDER BY id")
        return [message.type for row in rows if (message := decode(row["message"])) is not None]

    async def judged_by_itself(self, wanted: Wanted) -> Any:
        """Wait until another task has stored the attempt's verdict, and return the attempt."""

        async def check() -> Any:
            attempt = await self.attempt(wanted)
            return attempt if attempt["status"] == "finished" else None

        return await until(check, within=60, what="a verdict")

    async def ended(self, executor: Executor[Any], wanted: Wanted) -> None:
        """Wait until the attempt's pod has ended. This does not update the attempt's row."""
        name = self.name((await self.attempt(wanted))["id"])

        async def check() -> bool:
            return (await executor.cluster.observe([name]))[name].pods[0].phase is Phase.ENDED

        await until(check, within=20, what="the end of the pod")

    async def finished(self, executor: Executor[Any], wanted: Wanted, within: float = 20) -> Any:
        """Wait until the attempt has its verdict, and return the attempt.

        The caller's watch stores the verdict. Without a watch, this method does.
        """

        async def check() -> Any:
            attempt = await self.attempt(wanted)
            if attempt["status"] != "finished":
                await executor.attempts.follow([attempt["id"]])
                return None
            return attempt

        return await until(check, within=within, what="a verdict")

    def pods(self) -> list[str]:
        return sorted(path.name for path in (self.settings.local_dir / "pods").iterdir())

    async def end_pods(self) -> None:
        async with open_local_cluster(self.settings, self.installation) as cluster:
            for left in await cluster.everything():
                await cluster.remove(left.name, left.object_uid)

    def name(self, attempt_id: int) -> str:
        return name_of(self.installation, attempt_id)


@asynccontextmanager
async def open_world(database_url: str) -> AsyncIterator[World]:
    with tempfile.TemporaryDirectory() as folder:
        settings = _settings(database_url, Path(folder))
        connection = await asyncpg.connect(database_url)
        try:
            async with open_database(settings) as database:
                world = World(database, connection, settings)
                await world.settle()
                yield world
                await world.end_pods()
        finally:
            await connection.close()


def _settings(database_url: str, folder: Path) -> ExecutorSettings:
    folder.chmod(0o755)  # jobs run as another user if the tests run as root
    mount = folder / "mount"
    mount.mkdir()
    mount.chmod(0o777)
    return ExecutorSettings(
        database_url=SecretStr(database_url),
        amqp_url=SecretStr("amqp://unused"),
        local_dir=folder / "local",
        local_mounts=(mount,),
        grace_seconds=0.5,
        reconcile_age_seconds=0.001,
        allow_local_clone_urls=True,
    )
