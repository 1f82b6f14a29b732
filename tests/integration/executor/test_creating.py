"""Answers of an API server to create requests, and how the executor handles each.

The tested code is `services.executor.kubernetes.creating`.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.executor.backend import AttemptSpec, MustWait, NameTaken, Refused
from services.executor.kubernetes.creating import Maker
from services.executor.kubernetes.listing import Place, weigh_complaint
from services.executor.kubernetes.manifest import objects_of
from shared.errors import Transient
from shared.kubernetes.client import ApiUnavailable
from shared.statuses import WaitingFor
from tests.contracts.clusters import spec
from tests.fakes.kubernetes_api import Answer, ScriptedApi, accepted, echoed, refusal, scripted_api
from tests.harness.pods import pod_settings

SETTINGS = pod_settings(namespace="builds")
QUOTA = (
    'jobs.batch "tp-abcdefgh-1" is forbidden: exceeded quota: few, requested: count/jobs.batch=1, used: '
    "count/jobs.batch=9, limited: count/jobs.batch=9"
)
TAKEN = refusal(409, "AlreadyExists")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[ScriptedApi, Maker]]:
    async with scripted_api(tmp_path) as (script, api):
        yield script, Maker(api, Place("builds", "abcdefgh"), SETTINGS)


def job(uid: str = "u", wanted: AttemptSpec | None = None, **status: Any) -> dict[str, Any]:
    """Return the Job as the API server stores it."""
    manifest = objects_of(wanted or spec(), SETTINGS).job
    return {**manifest, "metadata": {**manifest["metadata"], "uid": uid}, "status": status}


def secret(owner: str) -> dict[str, Any]:
    return {
        "metadata": {
            "name": "tp-abcdefgh-1",
            "uid": f"secret of {owner}",
            "ownerReferences": [{"kind": "Job", "uid": owner}],
        }
    }


def writes(script: ScriptedApi) -> list[str]:
    return [
        asked.replace("/namespaces/builds", "").split("?")[0]
        for asked in script.asked
        if not asked.startswith("GET")
    ]


async def test_a_job_comes_before_its_secret_and_that_is_all(server: tuple[ScriptedApi, Maker]) -> None:
    script, maker = server
    script.others = [echoed("u"), echoed("s")]
    made = await maker.make(spec())
    assert (made.uid, made.attempt_id, made.is_over) == ("u", 1, False)
    assert script.asked == [
        "POST /apis/batch/v1/namespaces/builds/jobs",
        "POST /api/v1/namespaces/builds/secrets",
    ]


async def test_a_job_that_is_there_is_adopted_and_a_missing_secret_made(
    server: tuple[ScriptedApi, Maker],
) -> None:
    script, maker = server
    script.others = [TAKEN, accepted(job("mine"), 200), echoed("s")]
    assert (await maker.make(spec())).uid == "mine"
    script.others = [TAKEN, accepted(job("mine"), 200), TAKEN, accepted(secret("mine"), 200)]
    assert (await maker.make(spec())).uid == "mine"


async def test_a_secret_of_an_older_job_is_replaced(server: tuple[ScriptedApi, Maker]) -> None:
    script, maker = server
    script.others = [echoed("mine"), TAKEN, accepted(secret("older"), 200), accepted({}, 200), echoed("s")]
    await maker.make(spec())
    assert writes(script) == [
        "POST /apis/batch/v1/jobs",
        "POST /api/v1/secrets",
        "DELETE /api/v1/secrets/tp-abcdefgh-1",
        "POST /api/v1/secrets",
    ]


@pytest.mark.parametrize("strange", ["token", "labels"])
async def test_a_job_that_is_not_ours_is_left_alone(server: tuple[ScriptedApi, Maker], strange: str) -> None:
    script, maker = server
    found = job(wanted=replace(spec(), creation_token="another's") if strange == "token" else None)
    if strange == "labels":
        found["metadata"]["labels"] = {}
    script.others = [TAKEN, accepted(found, 200)]
    with pytest.raises(NameTaken):
        await maker.make(spec())
    assert writes(script) == ["POST /apis/batch/v1/jobs"]


async def test_a_job_that_is_over_before_anybody_had_a_claim_is_made_anew(
    server: tuple[ScriptedApi, Maker],
) -> None:
    script, maker = server
    over = job("old", conditions=[{"type": "Failed", "status": "True"}])
    script.others = [TAKEN, accepted(over, 200), accepted({}, 200), echoed("new"), echoed("s")]
    assert (await maker.make(spec())).uid == "new"
    assert writes(script)[1] == "DELETE /apis/batch/v1/jobs/tp-abcdefgh-1"


@pytest.mark.parametrize("is_there", [True, False])
async def test_a_job_that_is_going_is_waited_for(server: tuple[ScriptedApi, Maker], is_there: bool) -> None:
    script, maker = server
    going = job()
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    script.others = [TAKEN, accepted(going, 200)] if is_there else [TAKEN, refusal(404), TAKEN]
    with pytest.raises(Transient):
        await maker.make(spec())


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal(400, "BadRequest", "bad"), Refused),
        (refusal(422, "Invalid", "bad"), Refused),
        (refusal(413, "RequestEntityTooLarge", "bad"), Refused),
        (refusal(403, "Forbidden", QUOTA), MustWait),
        (refusal(403, "Forbidden", 'User "x" cannot create resource "jobs"'), Transient),
        (refusal(404, "NotFound", 'namespaces "builds" not found'), Transient),
        (refusal(401, "Unauthorized"), Transient),
        (refusal(429, headers={"Retry-After": "3"}), ApiUnavailable),
        (refusal(500), ApiUnavailable),
    ],
)
@pytest.mark.parametrize("of", ["job", "secret"])
async def test_each_refusal_means_what_it_means(
    server: tuple[ScriptedApi, Maker], answer: Answer, error: type[Exception], of: str
) -> None:
    script, maker = server
    script.others = [answer] if of == "job" else [echoed("u"), answer]
    with pytest.raises(error):
        await maker.make(spec())


async def test_a_full_quota_is_said_in_the_servers_words(server: tuple[ScriptedApi, Maker]) -> None:
    script, maker = server
    script.others = [refusal(403, "Forbidden", QUOTA)]
    with pytest.raises(MustWait) as full:
        await maker.make(spec())
    assert (full.value.waiting.what, full.value.waiting.message) == (WaitingFor.QUOTA, QUOTA)


@pytest.mark.parametrize(
    ("complaint", "what"),
    [
        (
            (
                'Error creating: pods "x" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, '
                "limited: pods=1"
            ),
            WaitingFor.QUOTA,
        ),
        (
            (
                'Error creating: pods "x" is forbidden: error looking up service account builds/x: '
                'serviceaccount "x" not found'
            ),
            None,
        ),
        ("Error creating: Internal error occurred: failed calling webhook", None),
    ],
)
def test_some_complaints_of_the_job_controller_pass(complaint: str, what: WaitingFor | None) -> None:
    weighed = weigh_complaint(complaint)
    assert not isinstance(weighed, str)
    assert weighed.what is what
    assert not weighed.message.startswith("Error creating")


@pytest.mark.parametrize(
    "complaint",
    [
        'Error creating: pods "x" is forbidden: violates PodSecurity "restricted:latest": privileged',
        (
            'Error creating: pods "x" is forbidden: maximum memory usage per Container is 16Mi, but limit is '
            "128Mi"
        ),
        'Error creating: Pod "x" is invalid: spec.containers[0].image: Required value',
    ],
)
def test_others_do_not(complaint: str) -> None:
    assert weigh_complaint(complaint) == complaint.removeprefix("Error creating: ")
