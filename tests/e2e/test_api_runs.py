"""Runs over HTTP: lists with filters and pages, single runs, retries and cancellations."""

import asyncio
import itertools
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest

from tests.harness.client import Client
from tests.harness.coverage import covers
from tests.harness.installation import Towpath
from tests.harness.scenes import Document, Scene, job, jobs_of, scene
from tests.harness.waiting import until

FAILS_ON_BAD = {"only": job('test "$TOWPATH_BRANCH" != bad')}


async def ids(client: Client, **query: object) -> list[int]:
    items = (await client.get(f"/runs?{urlencode(query)}")).expect(200).json["items"]
    return [item["id"] for item in items]


async def mixed_runs(towpath: Towpath) -> tuple[Scene, list[Document]]:
    """Create four finished runs. Return their scene and the runs, the newest first.

    They are of a tag, a pull request, a branch on which the job fails, and `main`.
    """
    one = await scene(towpath, FAILS_ON_BAD, on={"push": {}, "pull_request": {}})
    deliveries = [
        await one.push(),
        await one.push(ref="refs/heads/bad"),
        await one.pull_request(),
        await one.push(ref="refs/tags/v1"),
    ]
    decisions = [await one.decision(delivery_id) for delivery_id in deliveries]
    runs = await asyncio.gather(*(towpath.finished(decision["run_id"]) for decision in decisions))
    return one, sorted(runs, key=lambda run: -run["id"])


@covers("GET /runs 200 422")
async def test_runs_are_found_by_every_filter(towpath: Towpath) -> None:
    one, runs = await mixed_runs(towpath)
    client = one.person.client
    every: list[tuple[dict[str, object], list[Document]]] = [
        ({}, runs),
        ({"pipeline_config_id": one.pipeline["id"]}, runs),
        ({"pipeline_config_id": one.pipeline["id"] + 10**6}, []),
        ({"repository": one.repository.full_name.upper()}, runs),
        ({"repository": "octo/unheard-of"}, []),
        ({"status": "pending"}, []),
        ({"branch": "bad", "status": "success"}, []),
        (
            {"branch": "bad", "status": "failed", "event": "push"},
            [run for run in runs if run["branch"] == "bad"],
        ),
    ]
    for name in ("status", "branch", "sha", "event"):
        every += [
            ({name: value}, [run for run in runs if run[name] == value])
            for value in {run[name] for run in runs} - {None}
        ]
    for name, query in (("created_at", "created"), ("started_at", "started"), ("finished_at", "finished")):
        for at in [run[name] for run in runs]:
            every.append(({f"{query}_after": at}, [run for run in runs if run[name] >= at]))
            every.append(({f"{query}_before": at}, [run for run in runs if run[name] < at]))
            every.append(({f"{query}_after": at, f"{query}_before": at}, []))
    for query_, wanted in every:
        assert await ids(client, **query_) == [run["id"] for run in wanted], query_

    for bad in (
        "status=done",
        "event=issue",
        "pipeline_config_id=x",
        "created_after=2026-01-01T00:00:00",
        "started_before=tomorrow",
        "branch=%00",
    ):
        (await client.get(f"/runs?{bad}")).expect(422)


@pytest.mark.parametrize("limit", [1, 2, 3, 7])
async def test_pages_show_every_run_once_while_runs_are_added(towpath: Towpath, limit: int) -> None:
    one = await scene(towpath)
    wanted = [(await one.started())["id"] for _ in range(6)]
    seen: list[int] = []
    cursor: str | None = ""
    for page_number in itertools.count():
        page = (
            (await one.person.client.get(f"/runs?limit={limit}" + (f"&cursor={cursor}" if cursor else "")))
            .expect(200)
            .json
        )
        assert len(page["items"]) <= limit
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        if page_number == 0:
            await one.started()
    assert seen == wanted[::-1]


@covers("GET /runs 400")
async def test_a_cursor_holds_for_its_filters_and_its_owner_alone(towpath: Towpath) -> None:
    one, another = await scene(towpath), await scene(towpath)
    for _ in range(2):
        await one.started()
    cursor = (await one.person.client.get("/runs?limit=1&branch=main")).expect(200).json["next_cursor"]
    (await one.person.client.get(f"/runs?limit=9&branch=main&cursor={cursor}")).expect(200)
    for query in ("", "branch=other", "branch=main&status=pending"):
        (await one.person.client.get(f"/runs?{query}&cursor={cursor}")).expect(400)
    (await another.person.client.get(f"/runs?branch=main&cursor={cursor}")).expect(400)
    (await one.person.client.get(f"/pipelines?cursor={cursor}")).expect(400)


@covers("GET /runs/{id} 200")
async def test_a_run_tells_where_it_came_from_and_how_it_went(towpath: Towpath) -> None:
    one = await scene(
        towpath,
        {
            "first": job("echo a", {"name": "second step", "run": "echo b"}),
            "second": job("true", needs=["first"]),
        },
    )
    delivery_id = await one.push(ref="refs/heads/topic")
    run = await towpath.finished((await one.decision(delivery_id))["run_id"], sealed=True)

    expected = ("success", None, 1, "push", "topic")
    assert _values(run, "status", "reason", "number", "event", "branch") == expected
    assert (run["repository"], run["triggered_by"]) == (one.repository.full_name, "github:mona")
    assert run["logs"] == f"/runs/{run['id']}/logs"
    assert (run["rerun"], run["retry_of"]) == (0, None)
    origin = (delivery_id, "github", "mona", run["event_id"])
    assert _values(run["provenance"], "delivery_id", "source", "sender", "event_id") == origin
    jobs = jobs_of(run)
    assert [_values(found, "name", "needs", "status") for found in run["jobs"]] == [
        ("first", [], "success"),
        ("second", ["first"], "success"),
    ]
    [attempt] = jobs["first"]["attempts"]
    ended = (1, "finished", "success", 0, "local")
    assert _values(attempt, "number", "status", "outcome", "exit_code", "cluster") == ended
    steps = [("echo a", "success", 0), ("second step", "success", 0)]
    assert [_values(step, "name", "outcome", "exit_code") for step in attempt["steps"]] == steps
    assert (await one.person.client.get(attempt["logs"])).expect(200).text == "a\nb\n"
    in_order(
        run["created_at"],
        run["started_at"],
        attempt["started_at"],
        attempt["finished_at"],
        jobs["second"]["started_at"],
        run["finished_at"],
    )
    of_run = [
        (change["from_status"], change["to_status"])
        for change in run["transitions"]
        if change["job_id"] is None
    ]
    assert of_run == [(None, "pending"), ("pending", "running"), ("running", "success")]
    in_order(*(change["at"] for change in run["transitions"]))


def _values(found: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(found[name] for name in names)


def in_order(*instants: str) -> None:
    assert list(instants) == sorted(instants)
    assert all(
        instant.endswith("Z") and len(instant) == len("2026-01-01T00:00:00.000000Z") for instant in instants
    )


@pytest.mark.pods("containers of pods have names of their own")
@covers("GET /runs/{id}/logs 200 404 422", "GET /runs/{id}/logs/stream 200 400")
async def test_a_log_is_named_by_job_attempt_and_container(towpath: Towpath) -> None:
    one = await scene(towpath, {"a": job("echo from a"), "b": job("echo from b")})
    run = await one.ran()
    client, path = one.person.client, run["logs"]
    whole = (await client.get(path)).expect(200)
    assert whole.headers["content-type"].startswith("text/plain")
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.text.index("from a") < whole.text.index("from b")
    assert (await client.get(f"{path}?job=b&attempt=1&container=job")).expect(200).text == "from b\n"
    for missing in ("job=c", "job=a&attempt=2"):
        (await client.get(f"{path}?{missing}")).expect(404)
    assert (await client.get(f"{path}?attempt=1&container=job")).expect(200).text == whole.text
    for bad in ("attempt=0", "job=a&attempt=0", "job=a&attempt=x", "job=%00"):
        (await client.get(f"{path}?{bad}")).expect(422)
    async with client.events(f"{path}/stream") as events:
        kinds = [event.kind async for event in events]
    assert kinds[-1] == "end"
    (await client.get(f"{path}/stream", headers={"Last-Event-ID": "nonsense"})).expect(400)


# ---------------------------------------------------------------- retry


async def failed_run(towpath: Towpath) -> tuple[Scene, Document]:
    """Create a run in which the job `good` succeeded, `bad` failed, and `after` was skipped."""
    one = await scene(
        towpath,
        {"good": job("true"), "bad": job("false", needs=["good"]), "after": job("true", needs=["bad"])},
    )
    return one, await one.ran()


def statuses(run: Document) -> dict[str, str]:
    return {found["name"]: found["status"] for found in run["jobs"]}


@covers("POST /runs/{id}/retry 201 200")
async def test_a_retry_is_a_new_run_of_the_same_revision_and_commit(towpath: Towpath) -> None:
    one, run = await failed_run(towpath)
    client = one.person.client
    answer = (await client.post(f"/runs/{run['id']}/retry")).expect(201)
    again = answer.json
    assert answer.headers["location"] == f"/runs/{again['id']}"
    assert (again["number"], again["rerun"], again["retry_of"]) == (2, 1, run["id"])
    assert (again["sha"], again["revision"], again["event_id"]) == (
        run["sha"],
        run["revision"],
        run["event_id"],
    )
    assert again["triggered_by"] == f"retry:user:{one.person.id}"
    assert (await client.post(f"/runs/{run['id']}/retry")).expect(200).json["id"] == again["id"]

    finished = await towpath.finished(again["id"])
    assert statuses(finished) == {"good": "success", "bad": "failed", "after": "skipped"}
    assert jobs_of(finished)["good"]["carried_from"] is None
    assert len(jobs_of(finished)["good"]["attempts"]) == 1
    assert await one.run(run["id"]) == run


async def test_a_retry_of_what_failed_carries_over_what_succeeded(towpath: Towpath) -> None:
    one, run = await failed_run(towpath)
    again = (await one.person.client.post(f"/runs/{run['id']}/retry", {"only": "failed"})).expect(201).json
    finished = await towpath.finished(again["id"])
    good = jobs_of(finished)["good"]
    assert (good["status"], good["carried_from"], good["attempts"]) == (
        "success",
        jobs_of(run)["good"]["id"],
        [],
    )
    assert statuses(finished) == {"good": "success", "bad": "failed", "after": "skipped"}
    assert len(jobs_of(finished)["bad"]["attempts"]) == 1


async def test_a_retry_with_the_latest_revision_runs_what_the_pipeline_says_by_then(towpath: Towpath) -> None:
    one, run = await failed_run(towpath)
    fixed = one.pipeline["yaml_config"].replace('"false"', '"true"')
    (await one.person.client.put(f"/pipelines/{one.pipeline['id']}", {"yaml_config": fixed})).expect(200)
    again = (await one.person.client.post(f"/runs/{run['id']}/retry", {"latest": True})).expect(201).json
    finished = await towpath.finished(again["id"])
    assert (finished["status"], finished["revision"]) == ("success", 2)


async def test_two_retries_at_once_make_one_run(towpath: Towpath) -> None:
    one, run = await failed_run(towpath)
    answers = await asyncio.gather(*(one.person.client.post(f"/runs/{run['id']}/retry") for _ in range(8)))
    assert sorted(answer.status for answer in answers) == [200] * 7 + [201]
    assert len({answer.json["id"] for answer in answers}) == 1
    assert len(await towpath.runs(one.pipeline)) == 2


@covers("POST /runs/{id}/retry 409 422")
async def test_a_run_that_succeeded_or_still_runs_is_not_retried(towpath: Towpath) -> None:
    one = await scene(towpath)
    run = await one.ran()
    assert (await one.person.client.post(f"/runs/{run['id']}/retry")).expect(409).json[
        "type"
    ] == "urn:towpath:problem:not_retryable"
    (await one.person.client.post(f"/runs/{run['id']}/retry", {"only": "some"})).expect(422)
    slow = await scene(towpath, {"only": job("sleep 60")})
    running = await slow.started()
    (await slow.person.client.post(f"/runs/{running['id']}/retry")).expect(409)
    (await slow.person.client.post(f"/runs/{running['id']}/cancel")).expect(200)


@covers("POST /runs/{id}/retry 201 409 422", "POST /runs/{id}/cancel 409 422")
async def test_a_repeated_key_repeats_the_answer_and_not_the_command(towpath: Towpath) -> None:
    one, run = await failed_run(towpath)
    client, path, key = one.person.client, f"/runs/{run['id']}/retry", {"Idempotency-Key": str(uuid4())}
    first = (await client.post(path, headers=key)).expect(201).json
    assert (await client.post(path, headers=key)).expect(201).json["id"] == first["id"]
    (await client.post(path, {"only": "failed"}, headers=key)).expect(409)
    (await client.post(f"/runs/{first['id']}/cancel", headers=key)).expect(409)
    for command in ("retry", "cancel"):
        (await client.post(f"/runs/{run['id']}/{command}", headers={"Idempotency-Key": "two words"})).expect(
            422
        )


# ---------------------------------------------------------------- cancel


async def first_line(one: Scene, run: Document) -> bytes:
    async def printed() -> bytes:
        return await one.towpath.log(run["id"], "only")

    return await until(printed, within=15, what="the first line")


@pytest.mark.pods("a stop goes through the kubelet")
@covers("POST /runs/{id}/cancel 200 409", "GET /commands/{id} 200")
async def test_a_cancelled_run_has_ended_its_processes_and_kept_its_log(towpath: Towpath) -> None:
    """The processes include one in the background that ignores SIGTERM."""
    oracle = towpath.oracle()
    beat = f"trap '' TERM; while :; do {oracle.append('beat')}; sleep 0.1; done"
    one = await scene(
        towpath,
        {"only": job(f"echo before\n({beat}) &\nsleep 60\necho never"), "after": job("true", needs=["only"])},
    )
    run = await one.started()
    assert await first_line(one, run) == b"before\n"
    (await one.person.client.post(f"/runs/{run['id']}/cancel")).expect(200)
    ended = await towpath.finished(run["id"], within=10, sealed=True)

    beats = len(oracle.lines)
    assert (ended["status"], ended["reason"]) == ("cancelled", "cancelled_by_user")
    assert {name: found["status"] for name, found in jobs_of(ended).items()} in (
        {"only": "cancelled", "after": "cancelled"},
        {"only": "cancelled", "after": "skipped"},
    )
    log = await towpath.log(run["id"], "only")
    assert log.startswith(b"before\n")  # the shell may add a line about its end
    assert b"never" not in log
    await some_run(towpath)
    assert len(oracle.lines) == beats
    (await one.person.client.post(f"/runs/{run['id']}/cancel")).expect(409)
    command = next(
        change["cause"] for change in ended["transitions"] if change["cause"].startswith("command:")
    ).removeprefix("command:")
    shown = (await one.person.client.get(f"/commands/{command}")).expect(200).json
    assert (shown["kind"], shown["run_id"], shown["requested_by"], shown["outcome"]) == (
        "cancel",
        run["id"],
        one.person.id,
        "applied",
    )


async def some_run(towpath: Towpath) -> None:
    """Wait for another run to finish, which takes longer than the interval of a beat."""
    witness = await scene(towpath, {"only": job("sleep 0.3")})
    assert (await witness.ran())["status"] == "success"


async def test_a_job_that_waits_for_a_slot_says_so_and_is_cancelled_at_once(narrow_towpath: Towpath) -> None:
    towpath = narrow_towpath
    one = await scene(towpath, {"only": job("sleep 60")})
    first, second, third = [await one.started() for _ in range(3)]

    async def they_wait() -> bool:
        runs = [await one.run(run["id"]) for run in (second, third)]
        return [(found["waiting_for"], found["place"]) for run in runs for found in run["jobs"]] == [
            ("slot", 0),
            ("slot", 1),
        ]

    await until(they_wait, within=10, what="the queue")
    cancelled = (await one.person.client.post(f"/runs/{second['id']}/cancel")).expect(200).json
    assert (cancelled["status"], cancelled["reason"], cancelled["started_at"]) == (
        "cancelled",
        "cancelled_by_user",
        None,
    )
    assert jobs_of(cancelled)["only"]["attempts"] == []
    for run in (third, first):
        (await one.person.client.post(f"/runs/{run['id']}/cancel")).expect(200)
    ended = [await towpath.finished(run["id"]) for run in (first, third)]
    assert {run["status"] for run in ended} == {"cancelled"}


@covers("POST /runs/{id}/cancel 202", "POST /runs/{id}/retry 202", "GET /commands/{id} 200")
async def test_a_command_that_takes_longer_than_a_request_is_kept_and_applied(
    narrow_towpath: Towpath,
) -> None:
    """The scheduler is stopped when the commands are sent."""
    towpath = narrow_towpath
    failed, waiting = (
        await scene(towpath, {"only": job("false")}),
        await scene(towpath, {"only": job("sleep 60")}),
    )
    runs = [await failed.ran(), await waiting.started()]
    await asyncio.to_thread(towpath.stack.stop, "scheduler")
    answers = await asyncio.gather(
        failed.person.client.post(f"/runs/{runs[0]['id']}/retry"),
        waiting.person.client.post(f"/runs/{runs[1]['id']}/cancel"),
    )
    commands = [answer.expect(202).json for answer in answers]
    assert [answer.headers["location"] for answer in answers] == [
        f"/commands/{command['id']}" for command in commands
    ]
    assert [(command["kind"], command["outcome"]) for command in commands] == [
        ("retry", None),
        ("cancel", None),
    ]

    await towpath.restart("scheduler")
    await towpath.finished(runs[1]["id"])
    shown = [(await towpath.admin.get(f"/commands/{command['id']}")).expect(200).json for command in commands]
    assert [command["outcome"] for command in shown] == ["applied", "applied"]
    assert (await failed.run(shown[0]["new_run_id"]))["retry_of"] == runs[0]["id"]
