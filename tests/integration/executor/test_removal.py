"""An attempt whose removal fails does not delay the removal of others."""

import pytest

from shared.errors import Transient
from shared.messaging.messages import AttemptReady
from tests.contracts.clusters import spec
from tests.integration.executor.world import Local, World


async def test_a_pod_that_can_not_be_removed_holds_up_no_other(
    world: World, executor: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [await world.job(), await world.job()]
    await executor.consumers.on_messages([AttemptReady(cluster="local", jobs=tuple(jobs))])
    stuck, other = [await world.finished(executor, wanted) for wanted in jobs]
    remove = executor.cluster.remove

    async def reluctantly(name: str, object_uid: str) -> None:
        if name == world.name(stuck["id"]):
            raise Transient("its processes do not die")
        await remove(name, object_uid)

    for attempt in (stuck, other):
        await world.seal_logs(attempt["id"])
    with monkeypatch.context() as reluctant:
        reluctant.setattr(executor.cluster, "remove", reluctantly)
        with pytest.raises(Transient):
            await executor.checks.finished_not_removed()
    assert await executor.checks.finished_not_removed() == 1
    assert world.pods() == []


async def test_x01_a_leftover_that_can_not_be_removed_holds_up_no_other(
    world: World, executor: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pods belong to attempts that are in no table."""
    for attempt in (901, 902, 903):
        await executor.cluster.create(spec(attempt=attempt, name=world.name(attempt)))
    remove = executor.cluster.remove
    refused: list[str] = []

    async def reluctantly(name: str, object_uid: str) -> None:
        if not refused:
            refused.append(name)
            raise Transient("its processes do not die")
        await remove(name, object_uid)

    with monkeypatch.context() as reluctant:
        reluctant.setattr(executor.cluster, "remove", reluctantly)
        with pytest.raises(Transient):
            await executor.attempts.sweep()
    assert world.pods() == refused
    assert await executor.attempts.sweep() == 1
    assert world.pods() == []
