"""A gate is opened with one request, even if several parts ask for it at once.

These parts are the message that created the pod, the watch that saw it, and a check of the reconciler.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web

from services.executor.kubernetes.backend import BackendOptions, KubernetesBackend
from services.executor.kubernetes.listing import Place
from shared.errors import Transient
from tests.fakes.kubernetes_api import Answer, ScriptedApi, accepted, events, page, refusal, scripted_api
from tests.harness.pods import pod_settings
from tests.harness.waiting import until
from tests.unit.services.executor.kubernetes.recordings import recorded

GATED = recorded("gated")
NAME, UID = "tp-abcdefgh-1", GATED["metadata"]["uid"]


@dataclass
class Gated:
    """A cluster that has seen one gated pod and receives no more events about it."""

    script: ScriptedApi
    cluster: KubernetesBackend

    async def release(self) -> None:
        await self.cluster.release(NAME, UID)

    @property
    def patches(self) -> int:
        return sum(asked.startswith("PATCH") for asked in self.script.asked)


def pods_alone() -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        return await page([GATED] if request.path.endswith("/pods") else [])(request)

    return answer


@pytest.fixture
async def gated(tmp_path: Path) -> AsyncIterator[Gated]:
    async with scripted_api(tmp_path) as (script, api):
        script.lists, script.watches = [pods_alone()], [events()]
        place, settings = Place("builds", "abcdefgh"), pod_settings(namespace="builds")
        async with KubernetesBackend(
            api, place, settings, BackendOptions(watch_seconds=100, log_scheme="kubernetes")
        ) as cluster:

            async def knows_it() -> bool:
                return bool(await cluster.known([NAME]))

            await until(knows_it, within=10, what="the pod is known")
            await until(lambda: _watch(script), within=10, what="both watches")
            yield Gated(script, cluster)


async def _watch(script: ScriptedApi) -> bool:
    return script.watch_count == 2


async def test_many_who_ask_at_once_open_it_once(gated: Gated) -> None:
    gated.script.others = [accepted(GATED, 200) for _ in range(3)]
    await asyncio.gather(gated.release(), gated.release(), gated.release())
    assert gated.patches == 1


async def test_who_asks_before_the_watch_has_told_of_it_opens_nothing(gated: Gated) -> None:
    gated.script.others = [accepted(GATED, 200) for _ in range(2)]
    await gated.release()
    await gated.release()
    assert gated.patches == 1


@pytest.mark.parametrize("refused", [refusal(500), refusal(403, "Forbidden"), refusal(409, "Conflict")])
async def test_a_gate_that_did_not_open_is_tried_again(gated: Gated, refused: Answer) -> None:
    gated.script.others = [refused, accepted(GATED, 200)]
    try:
        await gated.release()
    except Transient:
        assert gated.patches == 1
    await gated.release()
    assert gated.patches == 2
