"""Rows that the other services would have written: events, runs, jobs, attempts and logs."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg
import zstandard

AT = datetime(2026, 11, 20, 10, tzinfo=UTC)


@dataclass
class History:
    """Writes rows of the scheduler, executor and log sink to a gateway's database."""

    connection: Any

    @classmethod
    async def of(cls, database_url: str) -> "History":
        connection = await asyncpg.connect(database_url)
        await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
        return cls(connection)

    async def event(self, repository_id: int | None, **fields: Any) -> int:
        columns = {
            "kind": "push", "repository_id": repository_id, "repository": "octo/web",
            "ref": "refs/heads/main", "branch": "main",
            "sha": "a" * 40, "sender_login": "mona", "trusted": True, "received_at": AT,
        } | fields  # fmt: skip
        return await self._insert("events", columns)

    async def run(self, pipeline: dict[str, Any], repository_id: int, **fields: Any) -> int:
        """Insert a run of the pipeline's newest revision, and an event for it if `event_id` is not given."""
        event_id = fields.pop("event_id", None) or await self.event(repository_id)
        query = (
            "SELECT revision_id, (SELECT count(*) FROM pipeline_runs) AS runs FROM pipeline_configs WHERE "
            "id = $1"
        )
        row = await self.connection.fetchrow(query, pipeline["id"])
        columns = {
            "pipeline_config_id": pipeline["id"], "revision_id": row["revision_id"], "event_id": event_id,
            "number": row["runs"] + 1,
            "triggered_by": "github:mona", "repository_id": repository_id, "event_kind": "push",
            "branch": "main", "sha": "a" * 40, "timeout_seconds": 3600,
        } | fields  # fmt: skip
        run_id = await self._insert("pipeline_runs", columns)
        await self.connection.execute(
            "UPDATE pipeline_runs SET logs = $2 WHERE id = $1", run_id, f"/runs/{run_id}/logs"
        )
        return run_id

    async def job(self, run_id: int, name: str = "test", position: int = 0, **fields: Any) -> int:
        repository_id = await self.connection.fetchval(
            "SELECT repository_id FROM pipeline_runs WHERE id = $1", run_id
        )
        return await self._insert(
            "jobs",
            {
                "run_id": run_id,
                "name": name,
                "position": position,
                "definition": {},
                "repository_id": repository_id,
            }
            | fields,
        )

    async def attempt(self, job_id: int, number: int = 1, **fields: Any) -> int:
        columns = {"job_id": job_id, "number": number, "cluster": "local",
            "creation_token": f"token-{job_id}-{number}", "status": "claimed", "claimed_at": AT,
                   "containers": ["clone", "job"]}  # fmt: skip
        return await self._insert("attempts", columns | fields)

    async def stream(self, attempt_id: int, container: str = "job", *, sealed: bool = False) -> int:
        row = await self.connection.fetchrow(
            "SELECT j.id, j.run_id FROM attempts a JOIN jobs j ON j.id = a.job_id WHERE a.id = $1", attempt_id
        )
        columns = {
            "attempt_id": attempt_id,
            "container": container,
            "run_id": row["run_id"],
            "job_id": row["id"],
            "location": "/nowhere",
        }
        return await self._insert("log_streams", columns | ({"sealed_at": AT} if sealed else {}))

    async def write(self, stream_id: int, text: bytes) -> int:
        """Insert a segment of whole lines. Return the number of the line after it."""
        async with self.connection.transaction():
            row = await self.connection.fetchrow(
                "SELECT next_seq, next_line FROM log_streams WHERE id = $1 FOR UPDATE", stream_id
            )
            count = text.count(b"\n") + (not text.endswith(b"\n"))
            values = (
                stream_id,
                row["next_seq"],
                row["next_line"],
                count,
                AT,
                AT,
                len(text),
                zstandard.compress(text),
            )
            await self.connection.execute(
                "INSERT INTO log_segments VALUES ($1, $2, $3, $4, $5, $6, $7, $8)", *values
            )
            next_line: int = row["next_line"] + count
            await self.connection.execute(
                "UPDATE log_streams SET next_seq = next_seq + 1, next_line = $2 WHERE id = $1",
                stream_id,
                next_line,
            )
        return next_line

    async def gaps(self, stream_id: int, lines: list[int]) -> None:
        """Say that these lines of the stream are gap markers."""
        gaps = [{"line": line, "reason": "why"} for line in lines]
        await self.connection.execute("UPDATE log_streams SET gaps = $2 WHERE id = $1", stream_id, gaps)

    async def seal(self, stream_id: int) -> None:
        await self.connection.execute("UPDATE log_streams SET sealed_at = now() WHERE id = $1", stream_id)

    async def finish(self, run_id: int, status: str = "success") -> None:
        """Mark the run, its jobs and their attempts as finished."""
        of_run = "job_id IN (SELECT id FROM jobs WHERE run_id = $1)"
        await self.connection.execute(
            f"UPDATE attempts SET status = 'finished', outcome = $2 WHERE {of_run}", run_id, status
        )
        await self.connection.execute(
            "UPDATE jobs SET status = $2, finished_at = now() WHERE run_id = $1", run_id, status
        )
        await self.connection.execute(
            "UPDATE pipeline_runs SET status = $2, finished_at = now() WHERE id = $1", run_id, status
        )

    async def decide(
        self, event_id: int, pipeline: dict[str, Any], outcome: str, run_id: int | None = None
    ) -> None:
        revision_id = await self.connection.fetchval(
            "SELECT revision_id FROM pipeline_configs WHERE id = $1", pipeline["id"]
        )
        reasons = [{"code": outcome, "text": f"because {outcome}"}]
        columns = {
            "event_id": event_id,
            "pipeline_config_id": pipeline["id"],
            "revision_id": revision_id,
            "outcome": outcome,
        }
        await self._insert("decisions", columns | {"reasons": reasons, "run_id": run_id})

    async def apply(self, command_id: int, outcome: str, reason: str, run_id: int | None = None) -> None:
        statement = (
            "INSERT INTO command_effects (command_id, outcome, reason, run_id) VALUES ($1, $2, $3, $4)"
        )
        await self.connection.execute(statement, command_id, outcome, reason, run_id)

    async def _insert(self, table: str, columns: dict[str, Any]) -> int:
        places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
        return int(
            await self.connection.fetchval(
                f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places}) RETURNING id",
                *columns.values(),
            )
        )
