"""Attempts on a real Kubernetes, against a real database.

The tests cover the start, the claim, stops, and the recovery after an executor died.
"""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from shared.kubernetes.client import KubernetesApi
from shared.messaging.messages import LogSealed
from shared.pipeline.model import Step
from tests.harness.waiting import until
from tests.integration.executor.kubernetes_world import Hand, Remote, cancel, checked, claimed, ready, running
from tests.integration.executor.world import World

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(180)]


# ---------------------------------------------------------------- the normal case


async def test_an_admitted_job_runs_and_succeeds(world: World, hand: Hand, remote: Remote) -> None:
    oracle = hand.witness.oracle()
    wanted = await world.job(oracle.append("$TOWPATH_ATTEMPT"))
    await remote.consumers.on_messages([ready(wanted), ready(wanted)])
    attempt = await world.judged_by_itself(wanted)
    assert (attempt["outcome"], attempt["reason"], attempt["exit_code"]) == ("success", None, 0)
    assert attempt["containers"] == ["job"]
    pod = (await hand.pod(wanted))["metadata"]["name"]
    assert attempt["log_location"] == f"kubernetes:///{hand.namespace}/{pod}/{attempt['pod_uid']}"
    assert (attempt["waiting_for"], attempt["started_at"] is None) == (None, False)
    assert (await world.path(wanted))[-2:] == ["claimed", "finished"]
    assert await world.sent() == ["attempt.claimed", "container.started", "attempt.finished"]
    assert oracle.lines == ["1"]


async def test_a_good_attempt_takes_four_writes_and_no_other_question(
    world: World, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Count the requests of one attempt, except the shared list and watch of Jobs and of pods.

    Reconcilers run during the test. No row is old enough for them to act.
    """
    asked: list[str] = []
    send = KubernetesApi._send

    async def counted(api: KubernetesApi, method: str, path: str, *rest: Any, **options: Any) -> Any:
        if api is not hand.api:
            asked.append(f"{method} {path.rpartition(f'/{hand.namespace}/')[2]}")
        return await send(api, method, path, *rest, **options)

    monkeypatch.setattr(KubernetesApi, "_send", counted)
    async with running(world, check_every_seconds=0.5, reconcile_age_seconds=50) as remote:
        wanted = await world.job("sleep 3", admitted_seconds_ago=0)
        await remote.consumers.on_messages([ready(wanted)])
        attempt = await world.judged_by_itself(wanted)
        name, pod = world.name(attempt["id"]), attempt["log_location"].split("/")[-2]
        await world.seal_logs(attempt["id"])
        await remote.consumers.on_messages([LogSealed(cluster="local", attempt_ids=(attempt["id"],))])
    assert [one for one in asked if not one.startswith("GET")] == [
        "POST jobs",
        "POST secrets",
        f"PATCH pods/{pod}",
        f"DELETE jobs/{name}",
    ]
    assert sorted(one for one in asked if one.startswith("GET")) == [
        "GET jobs",
        "GET jobs",
        "GET pods",
        "GET pods",
    ]


async def test_a_failed_step_is_named(world: World, hand: Hand, remote: Remote) -> None:
    wanted = await world.job(
        steps=(Step(name="build", run=":"), Step(name="test", run="exit 3"), Step(run=":"))
    )
    await remote.consumers.on_messages([ready(wanted)])
    attempt = await world.judged_by_itself(wanted)
    assert (attempt["outcome"], attempt["reason"], attempt["message"]) == (
        "failed",
        "script_failed",
        'The step "test" ended with exit code 3.',
    )


async def test_a_sealed_job_is_removed_with_all_that_was_made_for_it(
    world: World, hand: Hand, remote: Remote
) -> None:
    wanted = await world.job()
    await remote.consumers.on_messages([ready(wanted)])
    attempt = await world.judged_by_itself(wanted)
    sealed = LogSealed(cluster="local", attempt_ids=(attempt["id"],))
    await remote.consumers.on_messages([sealed])
    await remote.attempts.sweep()
    assert await hand.jobs() == [world.name(attempt["id"])]
    await world.seal_logs(attempt["id"])
    await remote.consumers.on_messages([sealed, sealed])
    assert await hand.jobs() == []

    async def nothing_left() -> bool:
        secrets = (await hand.api.get(f"/api/v1/namespaces/{hand.namespace}/secrets"))["items"]
        return not secrets and not await hand.pods(wanted)

    await until(nothing_left, within=30, what="the garbage collector")


# ---------------------------------------------------------------- executors that die


async def test_f21_an_attempt_goes_on_from_wherever_an_executor_left_it(world: World, hand: Hand) -> None:
    """A second executor continues attempts from every stage, without any message.

    One attempt has no Job yet, one has a Job without its Secret, one has everything but a claim, and one has
    a claim and a gated pod.
    """
    oracle = hand.witness.oracle()
    jobs = [await world.job(oracle.append(f"job {number}")) for number in range(4)]
    specs = [await world.inserted(wanted) for wanted in jobs]
    async with world.on_kubernetes() as dying:
        for number in (1, 2, 3):
            await dying.cluster.create(specs[number])
        await hand.api.delete(f"/api/v1/namespaces/{hand.namespace}/secrets/{specs[1].name}")
        pods = [await hand.pod(wanted) for wanted in jobs[1:]]
        async with world.store.transaction() as work:
            await work.claim([(await dying.cluster.observe([specs[3].name]))[specs[3].name]])
    async with world.on_kubernetes() as heir:
        watching = asyncio.create_task(heir.watching.run())
        await heir.checks.attempts_without_claim()
        await checked(heir.checks.claimed_attempts)
        attempts = [await world.judged_by_itself(wanted) for wanted in jobs]
        watching.cancel()
    assert [attempt["outcome"] for attempt in attempts] == ["success"] * 4
    assert [attempt["pod_uid"] for attempt in attempts[1:]] == [pod["metadata"]["uid"] for pod in pods]
    assert sorted(oracle.lines) == ["job 0", "job 1", "job 2", "job 3"]


async def test_a_job_goes_on_and_is_judged_while_and_after_no_executor_is_there(
    world: World, hand: Hand
) -> None:
    oracle, gate = hand.witness.oracle(), hand.witness.gate()
    wanted = await world.job(f"{oracle.append('x')}; while {gate.closed()}; do sleep 0.1; done; exit 7")
    async with world.on_kubernetes() as first:
        await first.consumers.on_messages([ready(wanted)])
        await checked(first.checks.attempts_without_claim) if not (await world.attempt(wanted))[
            "pod_uid"
        ] else None
        await hand.said(oracle)
    gate.open()
    await hand.until_pod(wanted, "the pod's end", lambda pod: pod["status"]["phase"] == "Failed")
    async with world.on_kubernetes() as second:
        await checked(second.checks.claimed_attempts)
    attempt = await world.attempt(wanted)
    assert (attempt["reason"], attempt["exit_code"], oracle.lines) == ("script_failed", 7, ["x"])


async def test_a_job_of_that_name_that_somebody_else_made_is_not_adopted(
    world: World, hand: Hand, remote: Remote
) -> None:
    wanted = await world.job()
    spec = await world.inserted(wanted)
    await remote.cluster.create(replace(spec, creation_token="another's"))
    await remote.consumers.on_messages([ready(wanted)])
    attempt = await world.judged_by_itself(wanted)
    assert attempt["reason"] == "platform"


# ---------------------------------------------------------------- stops


async def test_a_running_job_is_stopped_and_keeps_its_last_line(
    world: World, hand: Hand, remote: Remote
) -> None:
    oracle = hand.witness.oracle()
    wanted = await world.job(
        f"trap 'echo bye; exit 0' TERM; {oracle.append('x')}; while :; do sleep 0.05; done"
    )
    await remote.consumers.on_messages([ready(wanted)])
    await hand.said(oracle)
    await world.request_stop(wanted, "superseded")
    await remote.consumers.on_messages([cancel(wanted), cancel(wanted)])
    attempt = await world.judged_by_itself(wanted)
    assert (attempt["outcome"], attempt["reason"]) == ("cancelled", "superseded")
    assert "\nbye\n" in await hand.log(await hand.pod(wanted))


async def test_a_stop_before_the_claim_means_that_nothing_starts(
    world: World, hand: Hand, remote: Remote
) -> None:
    oracle = hand.witness.oracle()
    wanted = await world.job(oracle.append("x"))
    spec = await world.inserted(wanted)
    await remote.cluster.create(spec)
    await world.request_stop(wanted)
    await remote.consumers.on_messages([ready(wanted), cancel(wanted)])
    assert (await world.attempt(wanted))["outcome"] == "cancelled"
    assert (await hand.jobs(), oracle.lines) == ([], [])


async def test_a_job_that_no_node_takes_is_stopped(world: World, hand: Hand, remote: Remote) -> None:
    wanted = await world.job(resources={"cpu_millis": 200_000})
    await remote.consumers.on_messages([ready(wanted)])
    await claimed(world, wanted)
    await world.request_stop(wanted)
    await remote.consumers.on_messages([cancel(wanted)])
    assert (await world.judged_by_itself(wanted))["outcome"] == "cancelled"


async def test_a_job_past_its_limit_is_ended_where_nobody_nearer_did(
    world: World, hand: Hand, remote: Remote
) -> None:
    oracle = hand.witness.oracle()
    wanted = await world.job(f"{oracle.append('x')}; sleep 600", timeout_seconds=900)
    await remote.consumers.on_messages([ready(wanted)])
    await hand.said(oracle)
    assert await remote.checks.jobs_past_limit() == 0
    await world.sql.execute("UPDATE jobs SET definition = jsonb_set(definition, '{timeout_seconds}', '1')")
    await checked(remote.checks.jobs_past_limit)
    attempt = await world.judged_by_itself(wanted)
    assert (attempt["outcome"], attempt["reason"]) == ("failed", "timed_out")
