"""Runs that users start, over HTTP and with the command `towpath`."""

import asyncio
import os
import sys
from pathlib import Path
from uuid import uuid4

from tests.harness.client import Answer, Client
from tests.harness.coverage import covers
from tests.harness.git import GitRepository
from tests.harness.installation import Towpath
from tests.harness.scenes import Document, Scene, scene
from tests.harness.waiting import until

ON = {
    "manual": {"inputs": {"level": {"type": "choice", "options": ["quick", "full"], "default": "quick"}}},
}
JOBS = {
    "only": {
        "env": {"LEVEL": "${{ inputs.level }}"},
        "steps": [{"run": 'echo "level=$LEVEL of $TOWPATH_EVENT $TOWPATH_BRANCH $(git rev-parse HEAD)"'}],
    }
}


async def started(towpath: Towpath, folder: Path) -> tuple[Scene, GitRepository]:
    repository = GitRepository(folder / "web")
    repository.commit({"a": "1"}, "first")
    repository.commit({"a": "2"}, "second")
    return await scene(towpath, JOBS, ON, clone_url=towpath.clone_url(repository.directory)), repository


async def outcome(client: Client, answer: Answer) -> tuple[str, int | None]:
    """Return the reason and the run of a start, once it is applied."""

    async def applied() -> Document | None:
        command: Document = (await client.get(answer.headers["location"])).expect(200).json
        return command if command["outcome"] is not None else None

    if answer.status == 201:
        return "run_created", answer.json["id"]
    if answer.status == 409:
        return answer.json["type"].removeprefix("urn:towpath:problem:"), None
    answer.expect(202)
    command = await until(applied, within=30, what="the effect of a start")
    return command["reason"], command["new_run_id"]


@covers("POST /pipelines/{id}/runs 201 409 422")
async def test_fifty_equal_requests_start_one_run(towpath: Towpath, tmp_path: Path) -> None:
    one, repository = await started(towpath, tmp_path)
    client, path = one.person.client, f"/pipelines/{one.pipeline['id']}/runs"
    body = {"branch": "main", "inputs": {"level": "full"}}
    key = {"Idempotency-Key": uuid4().hex}
    answers = await asyncio.gather(*(client.post(path, body, headers=key) for _ in range(50)))
    outcomes = {await outcome(client, answer) for answer in answers}
    listed = (await client.get(f"/runs?pipeline_config_id={one.pipeline['id']}")).expect(200).json["items"]
    assert outcomes == {("run_created", run["id"]) for run in listed}
    assert len(listed) == 1
    assert (listed[0]["event"], listed[0]["sha"]) == ("manual", repository.head())
    (await client.post(path, body | {"branch": "other"}, headers=key)).expect(409)
    wrong = (await client.post(path, {"branch": "main", "inputs": {"level": "deep", "x": 1}})).expect(422)
    assert [error["path"] for error in wrong.json["errors"]] == ["body.inputs.level", "body.inputs.x"]
    for bad in ({}, {"branch": "main", "tag": "v1"}, {"branch": "-x"}, {"sha": "main"}):
        (await client.post(path, bad)).expect(422)
    (await client.post(path, {"branch": "main", "repository": "octo/none"})).expect(422)


@covers("POST /pipelines/{id}/runs 202")
async def test_what_the_repository_does_not_have_is_not_started(towpath: Towpath, tmp_path: Path) -> None:
    one, repository = await started(towpath, tmp_path)
    repository.git("checkout", "-q", "-b", "side")
    dangling = repository.commit({"a": "3"}, "dangling")
    repository.git("checkout", "-q", "main")
    repository.git("branch", "-q", "-D", "side")
    for body, code in (({"tag": "v9"}, "ref_gone"), ({"sha": dangling}, "sha_unreachable")):
        refused = await one.person.client.post(f"/pipelines/{one.pipeline['id']}/runs", body)
        assert await outcome(one.person.client, refused) == (code, None)
        query = f"/events?kind=manual&repository={one.repository.full_name}"
        newest = (await one.person.client.get(query)).expect(200).json["items"][0]
        event = (await one.person.client.get(f"/events/{newest['id']}")).expect(200).json
        assert (event["sha"], event["waiting_for"], event["delivery_id"]) == (None, None, None)
        (decision,) = event["decisions"]
        assert (decision["outcome"], decision["run_id"]) == ("ref_gone", None)
        assert decision["reasons"][0]["code"] == code
    older = repository.git("rev-parse", "main~1").strip()
    answer = await one.person.client.post(f"/pipelines/{one.pipeline['id']}/runs", {"sha": older})
    _, run_id = await outcome(one.person.client, answer)
    assert (await one.person.client.get(f"/runs/{run_id}")).expect(200).json["sha"] == older
    without = {"branch": "main"}
    elsewhere = await scene(towpath, JOBS, ON, clone_url="file:///nothing/here")
    waiting = await elsewhere.person.client.post(f"/pipelines/{elsewhere.pipeline['id']}/runs", without)
    command = (await elsewhere.person.client.get(waiting.expect(202).headers["location"])).expect(200).json
    assert (command["kind"], command["outcome"], command["waiting_for"]) == ("start", None, "ref")


async def test_the_command_starts_a_run_with_inputs_and_follows_it(towpath: Towpath, tmp_path: Path) -> None:
    one, repository = await started(towpath, tmp_path)
    towpath_of = {"TOWPATH_URL": one.person.client.url, "TOWPATH_TOKEN": one.person.client.token or ""}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "runs", "start", one.pipeline["name"]),
        *("--branch", "main", "--input", "level=full", "--follow"),
        cwd=Path(__file__).parents[2],
        env=dict(os.environ) | towpath_of,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(90):
        output = (await process.communicate())[0].decode()
    assert process.returncode == 0, output
    assert f"level=full of manual main {repository.head()}" in output
