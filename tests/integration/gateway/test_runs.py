"""Runs, events and deliveries through the API, and the commands for runs."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.harness.client import Answer, Client
from tests.harness.waiting import until
from tests.integration.gateway.history import History
from tests.integration.gateway.serving import Serving


@pytest.fixture
def served(shared_gateway: Serving) -> Serving:
    return shared_gateway


class Story:
    """An owner with a pipeline, a viewer and a maintainer of its repository, and a user without a role."""

    def __init__(self, served: Serving, history: History) -> None:
        self.served, self.history = served, history

    async def begin(self) -> "Story":
        _, self.owner = await self.served.person()
        viewer_id, self.viewer = await self.served.person()
        maintainer_id, self.maintainer = await self.served.person()
        _, self.stranger = await self.served.person()
        self.repository = await self.served.repository()
        for user_id, role in ((viewer_id, "viewer"), (maintainer_id, "maintainer")):
            (
                await self.served.admin.put(
                    f"/repositories/{self.repository['id']}/grants/{user_id}", {"role": role}
                )
            ).expect(200)
        self.pipeline = await self.served.pipeline(self.owner)
        return self

    async def run(self, **fields: Any) -> int:
        return await self.history.run(self.pipeline, self.repository["id"], **fields)


@pytest.fixture
async def story(served: Serving, history: History) -> Story:
    return await Story(served, history).begin()


async def ids(client: Client, query: str = "") -> list[int]:
    return [item["id"] for item in (await client.get(f"/runs{query}")).expect(200).json["items"]]


async def test_a_run_is_shown_with_all_that_belongs_to_it(story: Story) -> None:
    run_id = await story.run(status="running", started_at=datetime(2026, 11, 20, 10, 0, 1, 5, tzinfo=UTC))
    first = await story.history.job(run_id, "test", 0, status="running")
    await story.history.job(run_id, "deploy", 1, needs=["test"], waiting_for="dependency")
    steps = [
        {"name": "pytest", "outcome": "success", "exit_code": 0, "started_at": "2026-11-20T10:00:02+00:00"},
        {"exit_code": "nonsense"},
        7,
    ]
    attempt_id = await story.history.attempt(first, steps=steps)
    await story.history.connection.execute(
        "INSERT INTO transitions (run_id, to_status, cause) VALUES ($1, 'pending', 'event:1')", run_id
    )

    run = (await story.owner.get(f"/runs/{run_id}")).expect(200).json

    assert run["status"] == "running"
    assert run["started_at"] == "2026-11-20T10:00:01.000005Z"
    assert run["logs"] == f"/runs/{run_id}/logs"
    assert (run["pipeline"], run["revision"], run["repository"]) == (
        "web-ci",
        1,
        story.repository["full_name"],
    )
    assert run["provenance"]["event_id"] == run["event_id"]
    assert run["log_complete"] is False
    assert [(job["name"], job["needs"], job["waiting_for"]) for job in run["jobs"]] == [
        ("test", [], None),
        ("deploy", ["test"], "dependency"),
    ]
    (attempt,) = run["jobs"][0]["attempts"]
    assert (attempt["id"], attempt["number"], attempt["status"]) == (attempt_id, 1, "claimed")
    assert [(step["name"], step["exit_code"]) for step in attempt["steps"]] == [("pytest", 0)]
    assert attempt["logs"] == f"/runs/{run_id}/logs?job=test&attempt=1&container=job"
    assert [change["to_status"] for change in run["transitions"]] == ["pending"]


MATRIX = {
    "matrix_values": [
        ["python", {"text": "3.10", "kind": "float"}],
        ["os", {"text": "linux", "kind": "text"}],
    ],
    "allow_failure": True,
}


async def test_a_job_of_a_matrix_is_shown_with_its_key_and_values(story: Story) -> None:
    run_id = await story.run(status="running")
    job_id = await story.history.job(
        run_id, "Tests", 0, key="test (3.10, linux)", definition=MATRIX, status="success", script_retries=1
    )
    await story.history.attempt(job_id)
    sentence = "if: needs.test.result == 'success' → false because needs.test.result = 'failed'"
    await story.history.job(
        run_id,
        "deploy",
        1,
        key="deploy",
        needs=["test (3.10, linux)"],
        condition=sentence,
        outputs={"digest": "sha256:1"},
        infra_retries=1,
        status="success",
    )

    test, deploy = (await story.owner.get(f"/runs/{run_id}")).expect(200).json["jobs"]

    assert (test["key"], test["name"]) == ("test (3.10, linux)", "Tests")
    assert list(test["matrix"].items()) == [("python", "3.10"), ("os", "linux")]
    assert (test["allow_failure"], test["flaky"], test["condition"]) == (True, True, None)
    logs = f"/runs/{run_id}/logs?job=test+%283.10%2C+linux%29&attempt=1&container=job"
    assert test["attempts"][0]["logs"] == logs
    (await story.owner.get(logs)).expect(200)
    assert (deploy["matrix"], deploy["allow_failure"], deploy["flaky"]) == ({}, False, False)
    assert (deploy["condition"], deploy["outputs"]) == (sentence, {"digest": "sha256:1"})
    assert deploy["needs"] == [test["key"]]


async def test_a_job_that_did_not_succeed_after_a_script_retry_is_not_flaky(story: Story) -> None:
    run_id = await story.run()
    for position, status in enumerate(("pending", "running", "failed", "cancelled")):
        await story.history.job(run_id, status, position, status=status, script_retries=1)
    jobs = (await story.owner.get(f"/runs/{run_id}")).expect(200).json["jobs"]
    assert [job["flaky"] for job in jobs] == [False] * 4


async def test_a_job_of_the_release_before_is_shown_with_its_name_as_key(story: Story) -> None:
    """That release stores no key, and nothing about matrices, conditions and outputs."""
    run_id = await story.run()
    job_id = await story.history.job(run_id, "test", 0, status="success")
    await story.history.attempt(job_id)
    (job,) = (await story.owner.get(f"/runs/{run_id}")).expect(200).json["jobs"]
    new = ("key", "name", "matrix", "condition", "allow_failure", "flaky", "outputs")
    assert {name: job[name] for name in new} == {
        "key": "test",
        "name": "test",
        "matrix": {},
        "condition": None,
        "allow_failure": False,
        "flaky": False,
        "outputs": {},
    }
    (await story.owner.get(job["attempts"][0]["logs"])).expect(200)


async def test_x12_a_run_shows_the_warnings_of_its_attempts(story: Story) -> None:
    run_id = await story.run(status="running")
    job_id = await story.history.job(run_id, "test", 0, status="running")
    await story.history.attempt(job_id, warnings=["The job shares the network of its machine."])
    (job,) = (await story.owner.get(f"/runs/{run_id}")).expect(200).json["jobs"]
    assert job["attempts"][0]["warnings"] == ["The job shares the network of its machine."]


async def test_a_log_is_complete_when_the_run_is_over_and_every_container_sealed(story: Story) -> None:
    run_id = await story.run()
    job_id = await story.history.job(run_id)
    attempt_id = await story.history.attempt(job_id)
    clone = await story.history.stream(attempt_id, "clone", sealed=True)

    async def is_complete() -> bool:
        return bool((await story.owner.get(f"/runs/{run_id}")).json["log_complete"])

    assert clone
    await story.history.finish(run_id)
    assert not await is_complete()
    await story.history.stream(attempt_id, "job", sealed=True)
    assert await is_complete()


async def test_a_run_lists_the_gaps_in_its_logs_in_the_order_of_its_jobs(story: Story) -> None:
    run_id = await story.run()
    deploy, test = [await story.history.job(run_id, name, at) for at, name in ((1, "deploy"), (0, "test"))]
    for job_id, container, lines in ((deploy, "job", [7]), (test, "job", [995, 3]), (test, "clone", [])):
        attempt_id = await story.history.connection.fetchval(
            "SELECT id FROM attempts WHERE job_id = $1", job_id
        ) or await story.history.attempt(job_id)
        await story.history.gaps(await story.history.stream(attempt_id, container), lines)
    run = (await story.owner.get(f"/runs/{run_id}")).expect(200).json
    assert run["log_gaps"] == [
        {"job": job, "attempt": 1, "container": "job", "line": line, "reason": "why"}
        for job, line in (("test", 3), ("test", 995), ("deploy", 7))
    ]


async def test_a_waiting_job_knows_its_place(story: Story) -> None:
    run_id = await story.run()
    long_ago = datetime(2000, 1, 1, tzinfo=UTC)
    for position in range(3):
        at = long_ago + timedelta(seconds=position)
        await story.history.job(
            run_id, f"j{position}", position, ready_at=at, order_key=at, waiting_for="slot"
        )
    jobs = (await story.owner.get(f"/runs/{run_id}")).json["jobs"]
    await story.history.connection.execute("UPDATE jobs SET admitted_at = now() WHERE run_id = $1", run_id)
    assert [job["place"] for job in jobs] == [0, 1, 2]


async def test_runs_are_seen_by_owner_grantees_and_administrators_alone(story: Story) -> None:
    run_id = await story.run()
    for client in (story.owner, story.viewer, story.maintainer):
        assert await ids(client) == [run_id]
        (await client.get(f"/runs/{run_id}")).expect(200)
        (await client.get(f"/runs/{run_id}/logs")).expect(200)
    assert run_id in await ids(story.served.admin)
    assert await ids(story.stranger) == []
    for path in (f"/runs/{run_id}", f"/runs/{run_id}/logs", f"/runs/{run_id}/logs/stream"):
        (await story.stranger.get(path)).expect(404)


async def test_a_run_outlives_its_deleted_pipeline(story: Story) -> None:
    run_id = await story.run()
    (await story.owner.delete(f"/pipelines/{story.pipeline['id']}")).expect(204)
    assert await ids(story.owner) == [run_id]


async def test_filters_narrow_the_list(story: Story) -> None:
    at = datetime(2026, 11, 20, 10, tzinfo=UTC)
    one = await story.run(status="failed", branch="topic", created_at=at, started_at=at, finished_at=at)
    two = await story.run(
        status="success", sha="b" * 40, created_at=at + timedelta(hours=1), event_kind="tag"
    )
    name = story.repository["full_name"]
    expected = {
        "": [two, one], "status=failed": [one], "status=pending": [],
        f"pipeline_config_id={story.pipeline['id']}": [two, one], "pipeline_config_id=999999": [],
        f"repository={name}": [two, one], f"repository={name.upper()}": [two, one],
        "repository=octo/none": [], "branch=topic": [one],
        f"sha={'b' * 40}": [two],
        "event=tag": [two], "created_after=2026-11-20T10:00:00Z": [two, one],
        "created_before=2026-11-20T10:00:00Z": [],
        "created_after=2026-11-20T12:00:00%2B01:00": [two], "created_after=2026-11-20T12:00:00+01:00": [two],
        "created_before=2026-11-20T11:00:00.000001Z": [two, one],
        "started_after=2026-11-20T10:00:00Z": [one], "started_before=2026-11-20T10:00:00Z": [],
        "finished_after=2026-11-20T10:00:00Z&status=failed": [one],
        "finished_before=2026-11-21T00:00:00Z": [one],
    }  # fmt: skip
    for client in (story.owner, story.viewer):
        for query, found in expected.items():
            assert await ids(client, f"?{query}") == found, query
    for query in ("status=failed", f"repository={name}&event=tag"):
        assert (
            await ids(story.served.admin, f"?pipeline_config_id={story.pipeline['id']}&{query}")
            == expected[query.rpartition("&")[2]]
        )


@pytest.mark.parametrize(
    "query",
    [
        "status=unknown", "created_after=2026-11-20T10:00:00", "created_after=2026-11-20",
        "created_after=1700000000", "created_after=yesterday",
        "event=merge", "created_after=2026-13-20T10:00:00Z", "created_after=0001-01-01T00:00:00%2B14:00",
        "pipeline_config_id=0",
        "pipeline_config_id=9223372036854775808", "branch=%00",
    ],
)  # fmt: skip
async def test_filters_that_mean_nothing_are_refused(served: Serving, query: str) -> None:
    (await served.admin.get(f"/runs?{query}")).expect(422)


async def test_pages_of_runs_join_without_a_gap(story: Story) -> None:
    made = [await story.run() for _ in range(7)]
    seen: list[int] = []
    cursor = ""
    while True:
        page = (await story.viewer.get(f"/runs?limit=3{cursor}")).expect(200).json
        seen += [item["id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == made[::-1]


class TestCommands:
    async def commanded(
        self, story: Story, request: Any, outcome: str, reason: str, run_id: int | None = None
    ) -> Answer:
        """Return the answer to a request whose command the test applies, as the scheduler would."""
        before = await story.served.count("commands")
        task = asyncio.ensure_future(request)

        async def stored() -> bool:
            return await story.served.count("commands") > before

        await until(stored, within=10, what="the command")
        command_id = (await story.served.rows("SELECT max(id) FROM commands"))[0][0]
        await story.history.apply(command_id, outcome, reason, run_id)
        story.served.gateway.effects.applied([command_id])
        answer: Answer = await task
        return answer

    async def test_a_retry_answers_with_the_new_run(self, story: Story) -> None:
        failed = await story.run(status="failed")
        new = await story.run(retry_of=failed, rerun=1)
        answer = await self.commanded(
            story,
            story.owner.post(f"/runs/{failed}/retry", {"only": "failed"}),
            "applied",
            "run_created",
            new,
        )
        assert answer.expect(201).headers["location"] == f"/runs/{new}"
        assert (answer.json["id"], answer.json["retry_of"]) == (new, failed)
        (command,) = await story.served.rows("SELECT kind, arguments FROM commands WHERE run_id = $1", failed)
        assert command["kind"] == "retry"
        assert '"failed"' in command["arguments"]
        messages = [
            row["message"]
            for row in await story.served.rows("SELECT message FROM outbox WHERE type = 'command.requested'")
        ]
        assert len(messages) == await story.served.count("commands")

    async def test_a_second_retry_at_once_is_led_to_the_same_run(self, story: Story) -> None:
        failed = await story.run(status="cancelled")
        new = await story.run(retry_of=failed, rerun=1)
        answer = await self.commanded(
            story, story.owner.post(f"/runs/{failed}/retry"), "applied", "run_exists", new
        )
        assert answer.expect(200).headers["location"] == f"/runs/{new}"

    async def test_a_cancel_answers_with_the_run(self, story: Story) -> None:
        run_id = await story.run(status="running")
        answer = await self.commanded(
            story, story.maintainer.post(f"/runs/{run_id}/cancel"), "applied", "cancelling"
        )
        assert answer.expect(200).json["id"] == run_id

    @pytest.mark.parametrize("reason", ["already_finished", "not_retryable"])
    async def test_a_refusal_of_the_scheduler_is_a_conflict(self, story: Story, reason: str) -> None:
        run_id = await story.run(status="running")
        (await self.commanded(story, story.owner.post(f"/runs/{run_id}/cancel"), "refused", reason)).expect(
            409
        )

    async def test_what_takes_longer_is_answered_with_where_to_look(self, story: Story) -> None:
        run_id = await story.run(status="running")
        answer = (await story.owner.post(f"/runs/{run_id}/cancel")).expect(202)
        command = (await story.owner.get(answer.headers["location"])).expect(200).json
        assert (command["kind"], command["run_id"], command["outcome"]) == ("cancel", run_id, None)
        await story.history.apply(command["id"], "applied", "cancelling")
        assert (await story.owner.get(answer.headers["location"])).json["outcome"] == "applied"
        (await story.maintainer.get(answer.headers["location"])).expect(404)

    @pytest.mark.parametrize(
        ("kind", "status", "code"),
        [("cancel", "success", "already_finished"), ("cancel", "skipped", "already_finished"),
        ("retry", "success", "not_retryable"),
         ("retry", "running", "not_retryable"), ("retry", "skipped", "not_retryable"),
         ("retry", "pending", "not_retryable")],
    )  # fmt: skip
    async def test_what_cannot_be_done_is_refused_at_once(
        self, story: Story, kind: str, status: str, code: str
    ) -> None:
        run_id = await story.run(status=status)
        problem = (await story.owner.post(f"/runs/{run_id}/{kind}")).expect(409).json
        assert problem["type"].endswith(code)
        assert await story.served.count(f"commands WHERE run_id = {run_id}") == 0

    async def test_a_viewer_commands_nothing(self, story: Story) -> None:
        run_id = await story.run(status="running")
        (await story.viewer.post(f"/runs/{run_id}/cancel")).expect(403)
        (await story.stranger.post(f"/runs/{run_id}/cancel")).expect(404)

    async def test_a_repeated_request_repeats_no_command(self, story: Story) -> None:
        run_id = await story.run(status="running")
        key = {"Idempotency-Key": f"k-{run_id}"}
        first = (await story.owner.post(f"/runs/{run_id}/cancel", headers=key)).expect(202).json
        again = (await story.owner.post(f"/runs/{run_id}/cancel", headers=key)).expect(202).json
        assert first["id"] == again["id"]
        await story.history.apply(first["id"], "applied", "cancelling")
        await story.history.finish(run_id, "cancelled")
        (await story.owner.post(f"/runs/{run_id}/cancel", headers=key)).expect(200)
        (await story.owner.post(f"/runs/{run_id}/retry", headers=key)).expect(409)
        (await story.owner.post(f"/runs/{run_id}/cancel", headers={"Idempotency-Key": "two words"})).expect(
            422
        )

    async def test_a_key_used_twice_at_once_makes_one_command_and_one_audit_entry(self, story: Story) -> None:
        run_id = await story.run(status="running")
        key = {"Idempotency-Key": f"twice-{run_id}"}
        connection = story.history.connection

        async def both_insert() -> bool:
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'commands'::regclass"
            return bool(await connection.fetchval(waiting) >= 2)

        async with connection.transaction():
            await connection.execute("LOCK TABLE commands IN SHARE MODE")
            requests = [
                asyncio.create_task(story.owner.post(f"/runs/{run_id}/cancel", headers=key)) for _ in range(2)
            ]
            await until(both_insert, within=10, what="both requests insert the command")
        answers = await asyncio.gather(*requests)

        assert {answer.expect(202).json["id"] for answer in answers} == {
            (await story.served.rows("SELECT max(id) FROM commands"))[0][0]
        }
        entries = "SELECT count(*) FROM audit_log WHERE action = 'run.cancel' AND object = $1"
        assert await connection.fetchval(entries, f"run:{run_id}") == 1

    @pytest.mark.parametrize("body", [{"only": "some"}, {"latest": 1}, {"unknown": 1}, []])
    async def test_odd_wishes_are_refused(self, story: Story, body: Any) -> None:
        run_id = await story.run(status="failed")
        (await story.owner.post(f"/runs/{run_id}/retry", body)).expect(422)


async def test_events_show_decisions_for_own_pipelines_alone(story: Story) -> None:
    theirs = await story.served.pipeline(story.maintainer, "theirs")
    event_id = await story.history.event(
        story.repository["id"], branch="topic", pull_request=7, kind="pull_request"
    )
    await story.history.decide(event_id, story.pipeline, "not_matched")
    await story.history.decide(event_id, theirs, "skipped")

    event = (await story.maintainer.get(f"/events/{event_id}")).expect(200).json
    assert [
        (decision["pipeline"], decision["outcome"], decision["reasons"]) for decision in event["decisions"]
    ] == [("theirs", "skipped", [{"code": "skipped", "text": "because skipped"}])]
    assert len((await story.served.admin.get(f"/events/{event_id}")).json["decisions"]) == 2
    assert (await story.viewer.get(f"/events/{event_id}")).json["decisions"] == []
    (await story.stranger.get(f"/events/{event_id}")).expect(404)
    assert [item["id"] for item in (await story.viewer.get("/events")).json["items"]] == [event_id]
    assert [
        item["id"]
        for item in (await story.viewer.get("/events?pull_request=7&kind=pull_request&branch=topic")).json[
            "items"
        ]
    ] == [event_id]
    for query in (
        "kind=push",
        "branch=main",
        "pull_request=8",
        "repository=octo/none",
        f"sha={'c' * 40}",
        "received_before=2020-01-01T00:00:00Z",
    ):
        assert (await story.viewer.get(f"/events?{query}")).json["items"] == []


async def test_deliveries_show_what_became_of_them(story: Story) -> None:
    delivery_id = f"d-{story.repository['id']}"
    (
        await story.served.deliver(
            f'{{"x": "{delivery_id}"}}'.encode(), event="star", X_GitHub_Delivery=delivery_id
        )
    ).expect(202)
    pending = (await story.served.admin.get(f"/deliveries/{delivery_id}")).expect(200).json
    assert (pending["event_type"], pending["outcome"], pending["is_body_kept"]) == ("star", None, True)
    (await story.viewer.get(f"/deliveries/{delivery_id}")).expect(404)

    statement = (
        "INSERT INTO delivery_outcomes (delivery_id, outcome, reason, repository_id) VALUES ($1, "
        "'ignored', 'not an event', $2)"
    )
    await story.history.connection.execute(statement, pending["id"], story.repository["id"])
    seen = (await story.viewer.get(f"/deliveries/{delivery_id}")).expect(200).json
    assert (seen["outcome"], seen["reason"], seen["repository_id"]) == (
        "ignored",
        "not an event",
        story.repository["id"],
    )
    found = (await story.viewer.get("/deliveries?outcome=ignored&source=github&event_type=star")).json[
        "items"
    ]
    assert [item["delivery_id"] for item in found] == [delivery_id]
    assert (await story.viewer.get("/deliveries?outcome=event")).json["items"] == []
    (await story.stranger.get(f"/deliveries/{delivery_id}")).expect(404)
    (await story.viewer.get(f"/deliveries/{delivery_id}?source=gitea")).expect(404)
