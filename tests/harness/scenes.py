"""The beginning of most tests: a person, a repository, a pipeline for it, and the results of its events."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.harness.github import FakeRepository, pull_request
from tests.harness.installation import Person, Towpath
from tests.harness.waiting import until

Document = dict[str, Any]


def job(*scripts: str | Document, **fields: Any) -> Document:
    """Return a job without checkout that has a step for each script."""
    steps = [{"run": script} if isinstance(script, str) else script for script in scripts]
    return {"checkout": False, "steps": steps, **fields}


def document(repository: str, jobs: Mapping[str, Document], on: Document | None = None, **fields: Any) -> str:
    """Return a pipeline document as JSON, which is valid YAML."""
    return json.dumps(
        {"version": 1, "repository": repository, "on": on or {"push": {}}, **fields, "jobs": jobs},
        ensure_ascii=False,
        indent=1,
    )


TRUE = {"only": job("true")}


@dataclass(frozen=True)
class Scene:
    """A person's pipeline for a repository on which the person has a grant."""

    towpath: Towpath
    person: Person
    repository: FakeRepository
    pipeline: Document

    async def push(self, **fields: Any) -> str:
        """Send a push and return its delivery id."""
        return await self.towpath.deliver_push(self.repository, **fields)

    async def pull_request(self, *, merge_sha: str | None = None, **fields: Any) -> str:
        payload = pull_request(self.repository, **fields)
        payload["pull_request"]["merge_commit_sha"] = merge_sha
        answer = await self.towpath.deliver(payload, event="pull_request")
        delivery_id: str = answer.expect(202).json["delivery_id"]
        return delivery_id

    async def decision(self, delivery_id: str) -> Document:
        """Wait for this pipeline's decision about the event of a delivery, and return it."""
        event = await event_of(self.towpath, delivery_id)
        return next(
            decision
            for decision in event["decisions"]
            if decision["pipeline_config_id"] == self.pipeline["id"]
        )

    async def decided(self, **fields: Any) -> tuple[str, str]:
        """Send a push, and return the outcome and the first reason's code of the decision about it."""
        return verdict(await self.decision(await self.push(**fields)))

    async def started(self, **fields: Any) -> Document:
        """Send a push and return its run as soon as it exists."""
        decision = await self.decision(await self.push(**fields))
        assert decision["run_id"] is not None, decision
        return await self.run(decision["run_id"])

    async def run(self, run_id: int) -> Document:
        found: Document = (await self.person.client.get(f"/runs/{run_id}")).expect(200).json
        return found

    async def ran(self, *, within: float = 30, **fields: Any) -> Document:
        """Send a push, and return its run when it has its verdict and its whole log."""
        run = await self.started(**fields)
        return await self.towpath.finished(run["id"], within=within, sealed=True)


async def scene(
    towpath: Towpath,
    jobs: Mapping[str, Document] | None = None,
    on: Document | None = None,
    *,
    clone_url: str | None = None,
    **fields: Any,
) -> Scene:
    """Create a person, a repository and a pipeline. `fields` are further keys of the pipeline document."""
    person = await towpath.person()
    repository = await towpath.repository(person, **({"clone_url": clone_url} if clone_url else {}))
    pipeline = await towpath.pipeline(person, document(repository.full_name, jobs or TRUE, on, **fields))
    return Scene(towpath, person, repository, pipeline)


async def outcome_of(towpath: Towpath, delivery_id: str) -> Document:
    """Wait until a delivery has an outcome, and return it."""

    async def check() -> Document | None:
        delivery: Document = (await towpath.admin.get(f"/deliveries/{delivery_id}")).expect(200).json
        return delivery if delivery["outcome"] is not None else None

    return await until(check, within=20, what=f"the outcome of delivery {delivery_id}")


async def event_of(towpath: Towpath, delivery_id: str) -> Document:
    """Return the event of a delivery, with the decisions of all pipelines."""
    delivery = await outcome_of(towpath, delivery_id)
    assert delivery["outcome"] == "event", delivery
    event: Document = (await towpath.admin.get(f"/events/{delivery['event_id']}")).expect(200).json
    return event


def verdict(decision: Document) -> tuple[str, str]:
    """Return the outcome and the first reason's code. Asserts that every reason has a text."""
    assert all(reason["text"] for reason in decision["reasons"])
    return decision["outcome"], decision["reasons"][0]["code"]


def jobs_of(run: Document) -> dict[str, Document]:
    return {found["name"]: found for found in run["jobs"]}


def steps_of(run: Document, name: str) -> list[tuple[str, str]]:
    """Return name and outcome of each step of a job's last attempt."""
    return [(step["name"], step["outcome"]) for step in jobs_of(run)[name]["attempts"][-1]["steps"]]
