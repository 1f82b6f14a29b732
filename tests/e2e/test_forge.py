"""A push over HTTP to a real forge.

The forge sends its own signed webhook, and the log has the output of the repository's real tests.
"""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.harness.forge import Forge, answers, forge_environment
from tests.harness.git import GitRepository
from tests.harness.installation import GITEA_SECRET, Person, Towpath
from tests.harness.waiting import until

pytestmark = pytest.mark.forge

FILES = {
    "adder.py": "def add(a, b):\n    return a + b\n",
    "test_adder.py": (
        "import unittest\n\nfrom adder import add\n\n\nclass Adding(unittest.TestCase):\n"
        "    def test_two_and_two_make_four(self):\n        self.assertEqual(add(2, 2), 4)\n\n\nif "
        "__name__ == '__main__':\n    unittest.main()\n"
    ),
}
YAML = """\
version: 1
name: forge
repository: {repository}
on:
  push: {{ branches: [main, "release/**"], tags: ["v*"] }}
  pull_request: {{ branches: [main] }}
jobs:
  test:
    steps:
      - name: which commit
        run: git rev-parse HEAD
      - name: unit tests
        run: python3 -m unittest -v 2>&1
"""


@pytest.fixture
async def forge() -> AsyncIterator[Forge]:
    environment = forge_environment()
    if environment is None or not await answers(environment):
        pytest.skip(
            "no forge answers: set TOWPATH_TEST_FORGE_ENV to a file with FORGE_URL, FORGE_USER, "
            "FORGE_PASSWORD and FORGE_TOKEN"
        )
    async with aiohttp.ClientSession() as session:
        yield Forge(session, environment)


@dataclass
class Project:
    """A repository on the forge, whose webhook calls the installation, and its pipeline."""

    towpath: Towpath
    forge: Forge
    full_name: str
    work: GitRepository
    person: Person
    pipeline: dict[str, Any]

    async def events(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = (
            (await self.person.client.get("/events?limit=200")).expect(200).json["items"]
        )
        return [event for event in items if event["repository"] == self.full_name]

    async def decision(self, **wanted: str) -> dict[str, Any]:
        """Wait for an event with these fields. Return this pipeline's decision about it."""

        async def check() -> dict[str, Any] | None:
            for event in await self.events():
                if all(event.get(name) == value for name, value in wanted.items()):
                    whole = (await self.person.client.get(f"/events/{event['id']}")).expect(200).json
                    return next(iter(whole["decisions"]), None)
            return None

        return await until(check, within=20, what=f"the decision about {wanted}")


@pytest.fixture
async def project(towpath: Towpath, forge: Forge, scratch: Path) -> Project:
    name = f"project-{secrets.token_hex(4)}"
    record = await forge.repository(name, private=True)
    person = await towpath.person()
    body = {
        "full_name": record["full_name"],
        "forge": "gitea",
        "clone_url": record["clone_url"],
        "clone_token": forge.environment["FORGE_TOKEN"],
    }
    registered = (await towpath.admin.post("/repositories", body)).expect(201).json
    (await towpath.admin.put(f"/repositories/{registered['id']}/grants/{person.id}", {"role": "maintainer"}))
    await forge.hook(record["full_name"], f"{towpath.url}/webhooks/gitea", GITEA_SECRET)
    pipeline = await towpath.pipeline(person, YAML.format(repository=record["full_name"]))
    work = GitRepository(scratch / name)
    forge.remote(work, record["full_name"])
    return Project(towpath, forge, record["full_name"], work, person, pipeline)


@pytest.mark.pods("pods clone over the network")
async def test_a_push_to_a_real_forge_ends_in_a_green_run_with_its_tests_output(project: Project) -> None:
    sha = project.work.commit(FILES)
    project.work.git("push", "-q", "origin", "main")

    run = await project.towpath.only_run(project.pipeline, within=40)
    log = (await project.towpath.log(run["id"], "test")).decode()

    assert run["status"] == "success", log
    assert run["sha"] == sha
    assert run["triggered_by"] == f"gitea:{project.forge.user}"
    assert sha in log
    assert "test_two_and_two_make_four" in log
    assert "Ran 1 test" in log
    assert project.forge.environment["FORGE_TOKEN"] not in (await project.towpath.admin.get(run["logs"])).text


async def test_branches_tags_and_pull_requests_of_a_real_forge_each_get_their_decision(
    project: Project,
) -> None:
    work = project.work
    work.commit(FILES)
    work.git("push", "-q", "origin", "main")
    assert (await project.decision(kind="push", branch="main"))["outcome"] == "run"

    work.git("checkout", "-q", "-b", "topic")
    work.commit({"adder.py": "def add(a, b):\n    return b + a\n"}, "turn it round")
    work.git("push", "-q", "origin", "topic")
    decision = await project.decision(kind="push", branch="topic")
    assert decision["outcome"] == "not_matched"
    assert any("topic" in reason["text"] for reason in decision["reasons"])

    pull = await project.forge.call(
        "POST",
        f"/repos/{project.full_name}/pulls",
        {"title": "Turn it round", "head": "topic", "base": "main"},
    )
    assert (await project.decision(kind="pull_request", action="opened"))["outcome"] == "run"

    updated = work.commit({"NOTES": "more\n"}, "more")
    work.git("push", "-q", "origin", "topic")
    assert (await project.decision(kind="pull_request", action="synchronize", sha=updated))[
        "outcome"
    ] == "run"

    work.git("tag", "v1")
    work.git("tag", "other")
    work.git("push", "-q", "origin", "v1")
    assert (await project.decision(kind="tag", tag="v1"))["outcome"] == "run"
    work.git("push", "-q", "origin", "other")
    assert (await project.decision(kind="tag", tag="other"))["outcome"] == "not_matched"

    await project.forge.call(
        "PATCH", f"/repos/{project.full_name}/pulls/{pull['number']}", {"state": "closed"}
    )
    assert (await project.decision(kind="pull_request", action="closed"))["outcome"] != "run"
    work.git("push", "-q", "origin", "--delete", "topic")

    deletion = await until(lambda: _decided_deletion(project), within=20, what="the outcome of the deletion")
    assert deletion["outcome"] == "ignored"
    runs = await project.towpath.runs(project.pipeline)
    assert all(run["branch"] != "topic" or run["event"] == "pull_request" for run in runs)


async def _decided_deletion(project: Project) -> dict[str, Any] | None:
    answer = await project.person.client.get("/deliveries?event_type=delete")
    return next((delivery for delivery in answer.expect(200).json["items"] if delivery["outcome"]), None)


async def test_a_commit_that_fails_its_tests_ends_red(project: Project) -> None:
    project.work.commit(FILES | {"adder.py": "def add(a, b):\n    return 5\n"})
    project.work.git("push", "-q", "origin", "main")

    run = await project.towpath.only_run(project.pipeline, within=40)

    assert (run["status"], run["reason"]) == ("failed", "script_failed")
    assert "FAILED (failures=1)" in (await project.towpath.log(run["id"], "test")).decode()
