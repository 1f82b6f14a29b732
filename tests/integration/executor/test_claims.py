"""Only one of the pods that an attempt may get receives the claim and runs user code."""

from services.executor.backend import Observation, Phase, Pod
from tests.integration.executor.world import World


def made(attempt_id: int, pod_uid: str) -> Observation:
    pod = Pod(uid=pod_uid, phase=Phase.GATED)
    return Observation(
        name="tp",
        attempt_id=attempt_id,
        object_uid="job",
        creation_token="token",
        pods=(pod,),
        log_location="/nowhere",
        containers=("job",),
    )


async def test_f23_a_second_pod_of_an_attempt_never_gets_the_claim(world: World) -> None:
    wanted = await world.job()
    await world.inserted(wanted)
    attempt_id = (await world.attempt(wanted))["id"]
    async with world.store.transaction() as work:
        assert list(await work.claim([made(attempt_id, "first")])) == [attempt_id]
    async with world.store.transaction() as work:
        assert list(await work.claim([made(attempt_id, "second")])) == []
        assert list(await work.claim([made(attempt_id, "first")])) == [attempt_id]
    assert (await world.attempt(wanted))["pod_uid"] == "first"
