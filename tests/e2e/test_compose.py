"""`docker compose up` as the README describes it.

A push is built, a job reads only its own secrets, and `down` and `up` keep the data.
"""

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.harness import prying
from tests.harness.backends import LocalBackend
from tests.harness.compose import REPOSITORIES, Composed, composed, why_not
from tests.harness.git import GitRepository
from tests.harness.github import FakeRepository, push
from tests.harness.installation import Person, Towpath
from tests.harness.waiting import until

START_SECONDS = 240
"""The time limit for the start on a busy small machine.

PostgreSQL and RabbitMQ create their data, then four services start.
"""
JOB_UID = 65530

pytestmark = [
    pytest.mark.alone("starts a whole installation, which a small machine starts slowly beside other tests"),
    pytest.mark.compose,
    pytest.mark.slow,
    pytest.mark.timeout(900),
]

PIPELINE = """\
version: 1
repository: {repository}
on: {{ push: {{ branches: [main] }} }}
env: {{ OWN: {own} }}
jobs:
  build:
    steps:
      - run: for number in 1 2 3; do echo "line $number"; sleep 1; done
      - run: python3 prying.py
"""
ENDLESS = """\
version: 1
repository: {repository}
on: {{ push: {{ branches: [endless] }} }}
jobs:
  build:
    steps:
      - run: echo begun; sleep 3600
"""


def needle() -> str:
    return f"needle{secrets.token_hex(16)}"


@dataclass(frozen=True)
class Secrets:
    """The secrets of the installation. A job may see only the last two, which are its own."""

    postgres: str
    rabbitmq: str
    webhook: str
    own_variable: str
    own_file: str


@pytest.fixture
def hidden() -> Secrets:
    return Secrets(*(needle() for _ in range(5)))


@pytest.fixture
async def project(hidden: Secrets, tmp_path: Path) -> AsyncIterator[Composed]:
    if reason := await asyncio.to_thread(why_not):
        if os.environ.get("TOWPATH_TEST_COMPOSE") == "required":
            pytest.fail(reason)
        pytest.skip(reason)
    environment = {
        "TOWPATH_POSTGRES_PASSWORD": hidden.postgres,
        "TOWPATH_RABBITMQ_PASSWORD": hidden.rabbitmq,
        "TOWPATH_GITHUB_WEBHOOK_SECRET": hidden.webhook,
    }
    with composed(tmp_path / "repositories", environment) as ours:
        yield ours


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as ours:
        yield ours


@pytest.fixture
def source(project: Composed, hidden: Secrets, tmp_path: Path) -> GitRepository:
    source = GitRepository(tmp_path / "repositories" / "boats")
    source.commit({"prying.py": Path(prying.__file__).read_text(), "own": hidden.own_file})
    return source


async def test_a_push_is_built_a_job_reads_nothing_of_others_and_all_is_kept(
    project: Composed, session: aiohttp.ClientSession, source: GitRepository, hidden: Secrets
) -> None:
    towpath = await up(project, session)
    towpath.admin = towpath.admin.as_(project.token())
    person = await towpath.person()
    repository = await towpath.repository(person, clone_url=f"file://{REPOSITORIES}/boats")
    pipeline = await towpath.pipeline(
        person, PIPELINE.format(repository=repository.full_name, own=hidden.own_variable)
    )

    first = await built(towpath, repository, pipeline, source.head(), hidden)
    log = await towpath.log(first["id"], "build")
    assert log.splitlines()[:3] == [b"line 1", b"line 2", b"line 3"]
    assert b"lines may be missing" not in log
    check_that_nothing_was_read(log.decode(), hidden, key_of(project))

    interrupted = await begun(towpath, repository, person, hidden, source)
    await asyncio.to_thread(project.run, "down")
    assert project.states() == {}
    again = await up(project, session)
    again.admin = again.admin.as_(towpath.admin.token)

    lost = await again.finished(interrupted["id"], within=120, sealed=True)
    assert (lost["status"], lost["reason"]) == ("error", "lost")
    assert (await again.log(lost["id"], "build")).startswith(b"begun\n")
    assert (await again.finished(first["id"]))["status"] == "success"
    assert await again.log(first["id"], "build") == log
    kept = (await again.admin.get(f"/pipelines/{pipeline['id']}")).expect(200).json
    assert kept["yaml_config"] == pipeline["yaml_config"]
    second = await built(again, repository, pipeline, source.commit({"boats": "two"}), hidden)
    assert second["id"] != first["id"]


async def up(project: Composed, session: aiohttp.ClientSession) -> Towpath:
    """Start the project as the README describes it. Return when all long-running containers are healthy."""
    await asyncio.to_thread(project.run, "up", "--detach")
    wanted = dict.fromkeys(("gateway", "scheduler", "executor", "logsink", "postgres", "rabbitmq"), "healthy")

    async def all_healthy() -> bool:
        states = await asyncio.to_thread(project.states)
        return states == {**wanted, "key": "exited 0", "migrate": "exited 0"}

    await until(all_healthy, within=START_SECONDS, what="the health of every service")
    return Towpath(project, session, LocalBackend(Path("/nonexistent")))


async def built(
    towpath: Towpath, repository: FakeRepository, pipeline: dict[str, Any], sha: str, hidden: Secrets
) -> dict[str, Any]:
    """Send a signed push of this commit. Return its successful run."""
    (await towpath.deliver(push(repository, sha=sha), secret=hidden.webhook)).expect(202)

    async def run_of_the_push() -> dict[str, Any] | None:
        return next((run for run in await towpath.runs(pipeline) if run["sha"] == sha), None)

    run = await until(run_of_the_push, within=60, what="a run")
    run = await towpath.finished(run["id"], within=180, sealed=True)
    assert run["status"] == "success", (run, await towpath.log(run["id"], "build"))
    return run


async def begun(
    towpath: Towpath, repository: FakeRepository, person: Person, hidden: Secrets, source: GitRepository
) -> dict[str, Any]:
    """Start a run that does not end. Return it after the job's first line."""
    pipeline = await towpath.pipeline(person, ENDLESS.format(repository=repository.full_name))
    (
        await towpath.deliver(
            push(repository, sha=source.head(), ref="refs/heads/endless"), secret=hidden.webhook
        )
    ).expect(202)
    run = await towpath.run_of(pipeline, within=60)

    async def says_so() -> bool:
        return b"begun" in (await towpath.admin.get(f"/runs/{run['id']}/logs?job=build&container=job")).raw

    await until(says_so, within=60, what="the job's first line")
    return run


def key_of(project: Composed) -> str:
    """Return the line of the key file, as the gateway reads it."""
    key = project.run("exec", "-T", "gateway", "cat", "/etc/towpath/keys").strip()
    assert prying.SECRET.fullmatch(key.encode()), "the job looks for keys of this form"
    return key


def check_that_nothing_was_read(log: str, hidden: Secrets, key: str) -> None:
    """Check that the job found its own two secrets, so that its search works, and nothing else."""
    report = json.loads(
        next(line for line in log.splitlines() if line.startswith("REPORT ")).removeprefix("REPORT ")
    )
    assert (report["uid"], report["groups"], set(report["capabilities"])) == (JOB_UID, [], {"0" * 16})
    assert report["environment_secrets"] == [hidden.own_variable]
    assert report["file_secrets"] == [hidden.own_file]
    assert report["opened"] == []
    assert report["postgres"] == "InvalidPasswordError"
    foreign = [process for process in report["processes"] if process["uid"] != JOB_UID]
    assert [process for process in foreign if process["readable"]] == []
    assert any("services.executor" in process["command"] for process in foreign), (
        "the executor is visible to the job"
    )
    assert [
        process
        for process in report["processes"]
        if "services.gateway" in process["command"] or "postgres" in process["command"]
    ] == []
    assert [
        secret for secret in (hidden.postgres, hidden.rabbitmq, hidden.webhook, key) if secret in log
    ] == []
