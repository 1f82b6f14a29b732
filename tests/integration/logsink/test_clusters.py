"""Streams of Kubernetes clusters.

The tests cover which processes read a stream, which leave it alone, and how a stream that nobody can read is
sealed.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.logsink.clusters import Bounds, KubernetesCluster
from services.logsink.locations import PodName
from services.logsink.node import Node
from services.logsink.opening import read_here, read_on_node
from services.logsink.sources import End
from services.logsink.store import Reach
from services.logsink.unattended import UnattendedStreams
from services.logsink.wakeups import Wakeups
from shared.kubernetes.client import open_kubernetes
from tests.contracts.log_worlds import waking
from tests.fakes.kubernetes_logs import FakeKubernetes
from tests.fakes.pod_directory import cri
from tests.harness.waiting import until
from tests.integration.logsink.running import Record, RunningSink, running_sink

NAMESPACE = "builds"
POD = PodName(NAMESPACE, "pod-1", "uid-1")
API_LOCATION = f"kubernetes:///{NAMESPACE}/pod-1/uid-1"
STEP = b"::towpath-0123456789abcdef::begin 1 test\n"
"""The first line of every job's log."""


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeKubernetes]:
    made = FakeKubernetes()
    async with made.serving(tmp_path):
        yield made


@pytest.fixture
async def wakeups() -> AsyncIterator[Wakeups]:
    async with waking() as made:
        yield made


@pytest.fixture
async def cluster(fake: FakeKubernetes, tmp_path: Path) -> AsyncIterator[KubernetesCluster]:
    async with open_kubernetes(tmp_path / "kubeconfig") as api:
        made = KubernetesCluster(api, Bounds(most_follows=10, watch_seconds=60))
        yield made
        await made.close()


@dataclass(frozen=True)
class Far:
    """The cluster that attempts name `far`."""

    fake: FakeKubernetes
    cluster: KubernetesCluster
    wakeups: Wakeups


@pytest.fixture
def far(fake: FakeKubernetes, cluster: KubernetesCluster, wakeups: Wakeups) -> Far:
    return Far(fake, cluster, wakeups)


@asynccontextmanager
async def log_sink(
    database_url: str, wakeups: Wakeups, cluster: KubernetesCluster | None = None, lease_seconds: float = 1
) -> AsyncIterator[RunningSink]:
    clusters = {"far": cluster} if cluster else {}
    reach = Reach(files=True, clusters=tuple(clusters))
    async with running_sink(
        database_url,
        lease_seconds=lease_seconds,
        source_of=read_here(wakeups, clusters, 10 << 20),
        reach=lambda: reach,
    ) as running:
        yield running


async def finish(record: Record, attempt_id: int, reason: str, ago: str = "0 s") -> None:
    await record.connection.execute(
        "UPDATE attempts SET status = 'finished', outcome = 'error', reason = $2::reason, finished_at = "
        "now() - $3::text::interval WHERE id = $1",
        *(attempt_id, reason, ago),
    )


async def owner_of(record: Record, attempt_id: int) -> str | None:
    stream = await record.stream(attempt_id)
    assert stream
    owner: str | None = stream["owner"]
    return owner


async def test_a_log_is_read_through_the_api_server_and_sealed(
    database_url: str, record: Record, far: Far
) -> None:
    job = (await far.fake.make("pod-1")).containers["job"]
    attempt_id = await record.attempt(API_LOCATION, cluster="far")
    async with log_sink(database_url, far.wakeups, far.cluster) as running:
        await running.sink.open([attempt_id])
        await job.start()
        await job.prints(STEP + b"one\n")
        running.kill()
    await job.prints(b"two\n")
    await record.connection.execute("UPDATE log_streams SET lease_until = now() - interval '1 s'")
    async with log_sink(database_url, far.wakeups, far.cluster) as running:
        assert await running.sink.take_over() == 1
        await job.end()
        stream = await record.sealed(attempt_id)
    assert (await record.text(attempt_id), stream["gaps"]) == (STEP + b"one\ntwo\n", [])


async def test_a_verdict_seals_what_never_began(database_url: str, record: Record, far: Far) -> None:
    await far.fake.make("pod-1", containers=("clone", "job"))
    attempt_id = await record.attempt(API_LOCATION, ("clone", "job"), cluster="far")
    async with log_sink(database_url, far.wakeups, far.cluster) as running:
        await running.sink.open([attempt_id])
        await finish(record, attempt_id, "unschedulable")
        for container in ("clone", "job"):
            stream = await record.sealed(attempt_id, container)
            assert (await record.text(attempt_id, container), stream["gaps"]) == (b"", [])
        assert [one["cluster"] for one in await record.sent()] == ["far"]


async def test_logs_of_a_cluster_that_is_not_known_here_are_left_to_others(
    database_url: str, record: Record, wakeups: Wakeups
) -> None:
    attempt_id = await record.attempt(API_LOCATION, cluster="far")
    async with log_sink(database_url, wakeups) as running:
        assert await running.sink.open([attempt_id]) == 0
        assert await running.sink.take_over() == 0
    assert await owner_of(record, attempt_id) is None


class Agent:
    """A node agent in this process."""

    def __init__(self, running: RunningSink, node: Node) -> None:
        self.running = running
        self.taking = node.taking(running.sink, running.store, "far", check_seconds=60)


@asynccontextmanager
async def agent(database_url: str, far: Far, root: Path) -> AsyncIterator[Agent]:
    node = Node(root, NAMESPACE, far.cluster.watch(NAMESPACE), far.wakeups)
    async with running_sink(
        database_url,
        lease_seconds=1,
        source_of=read_on_node(far.wakeups, far.cluster, root),
        reach=node.reach,
    ) as running:
        yield Agent(running, node)


def logs_of(root: Path, pod: PodName) -> Path:
    directory = root / pod.directory / "job"
    directory.mkdir(parents=True)
    return directory / "0.log"


async def test_an_agent_opens_a_stream_when_its_directory_appears(
    database_url: str, record: Record, far: Far, tmp_path: Path
) -> None:
    root = tmp_path / "pods"
    root.mkdir()
    attempt_id = await record.attempt(POD.node_location, cluster="far")
    elsewhere_id = await record.attempt(PodName(NAMESPACE, "other", "uid-2").node_location, cluster="far")
    async with agent(database_url, far, root) as on_node:
        taking = asyncio.create_task(on_node.taking.run())
        await asyncio.sleep(0)
        job = (await far.fake.make("pod-1")).containers["job"]
        await job.start()
        logs_of(root, POD).write_bytes(cri(b"one\ntwo"))
        await job.end()
        stream = await record.sealed(attempt_id)
        taking.cancel()
    assert (await record.text(attempt_id), stream["gaps"]) == (b"one\ntwo", [])
    assert await record.stream(elsewhere_id) is None


async def test_an_agent_takes_over_what_another_left_and_others_opened(
    database_url: str, record: Record, far: Far, tmp_path: Path
) -> None:
    root = tmp_path / "pods"
    log = logs_of(root, POD)
    job = (await far.fake.make("pod-1")).containers["job"]
    await job.start()
    attempt_id = await record.attempt(POD.node_location, cluster="far")
    async with log_sink(database_url, far.wakeups, far.cluster) as central:
        assert await central.sink.open([attempt_id]) == 0
        assert await central.sink.take_over() == 0
        log.write_bytes(cri(b"one\n"))
        async with agent(database_url, far, root) as first:
            assert await first.taking.check() == 1

            async def has_one() -> bool:
                return await record.text(attempt_id) == b"one\n"

            await until(has_one, within=5, what="the first line")
            first.running.kill()
        with log.open("ab") as file:
            file.write(cri(b"two\n", first=100))
        await record.connection.execute("UPDATE log_streams SET lease_until = now() - interval '1 s'")
        async with agent(database_url, far, root) as second:
            assert await second.taking.check() == 1
            await job.end()
            stream = await record.sealed(attempt_id)
    assert (await record.text(attempt_id), stream["gaps"]) == (b"one\ntwo\n", [])


async def test_files_that_the_kubelet_has_deleted_are_a_gap(
    database_url: str, record: Record, far: Far, tmp_path: Path
) -> None:
    """Only the API reports that the pod is on this node. The node has no files of it."""
    job = (await far.fake.make("pod-1")).containers["job"]
    await job.start()
    await job.end()
    attempt_id = await record.attempt(POD.node_location, cluster="far")
    async with agent(database_url, far, tmp_path / "none") as on_node:

        async def took() -> int:
            return await on_node.taking.check()

        assert await until(took, within=5, what="the stream") == 1
        stream = await record.sealed(attempt_id)
    assert [gap["reason"] for gap in stream["gaps"]] == ["the log files are gone"]


@asynccontextmanager
async def unattended(database_url: str, far: Far) -> AsyncIterator[UnattendedStreams]:
    """Yield a log sink's check for streams that nobody reads."""
    async with log_sink(database_url, far.wakeups, far.cluster) as running:
        await running.sink.open_forgotten(-1)

        async def seal(stream_id: int, end: End) -> int:
            return await running.sink.take_over_stream(stream_id, running.followers.ending(end))

        yield UnattendedStreams(running.store, {"far": far.cluster}, seal, silence_seconds=3600)


async def test_a_log_whose_pod_is_gone_is_sealed_with_a_gap(
    database_url: str, record: Record, far: Far
) -> None:
    attempt_id = await record.attempt(POD.node_location, cluster="far")
    async with unattended(database_url, far) as check:
        assert await check.check() == 0  # the stream is not silent for long enough
        assert await check.check(0) == 1
        stream = await record.sealed(attempt_id)
    assert len(stream["gaps"]) == 1


async def test_a_log_of_a_lost_node_is_sealed_with_a_gap(database_url: str, record: Record, far: Far) -> None:
    await (await far.fake.make("pod-1")).containers["job"].start()
    attempt_id = await record.attempt(POD.node_location, cluster="far")
    async with unattended(database_url, far) as check:
        assert await check.check(0) == 0
        await finish(record, attempt_id, "node_lost")
        assert await check.check(0) == 1
        stream = await record.sealed(attempt_id)
    assert [gap["reason"] for gap in stream["gaps"]] == ["the node is lost"]


async def test_a_log_that_never_began_is_sealed_empty(database_url: str, record: Record, far: Far) -> None:
    await far.fake.make("pod-1")
    attempt_id = await record.attempt(POD.node_location, cluster="far")
    async with unattended(database_url, far) as check:
        assert await check.check(0) == 0
        await finish(record, attempt_id, "image_missing")
        assert await check.check(0) == 1
        stream = await record.sealed(attempt_id)
    assert stream["gaps"] == []


async def test_a_log_that_waits_for_its_agent_costs_no_requests(
    database_url: str, record: Record, far: Far
) -> None:
    await (await far.fake.make("pod-1")).containers["job"].start()
    await record.attempt(POD.node_location, cluster="far")
    watch = far.cluster.watch(NAMESPACE)

    async def has_listed() -> bool:
        return watch.has_listed

    await until(has_listed, within=5, what="the list")
    async with unattended(database_url, far) as check:
        for _ in range(3):
            assert await check.check(0) == 0
    assert far.fake.asked("/pods/pod-1") == 0


async def test_only_a_long_silence_ends_what_an_agent_should_read(
    database_url: str, record: Record, far: Far
) -> None:
    job = (await far.fake.make("pod-1")).containers["job"]
    await job.start()
    await job.end()
    attempt_id = await record.attempt(POD.node_location, cluster="far")
    async with unattended(database_url, far) as check:
        await finish(record, attempt_id, "lost")
        assert await check.check(0) == 0
        await finish(record, attempt_id, "lost", ago="2 hours")
        far.fake.is_away = True
        assert await check.check(0) == 1
        stream = await record.sealed(attempt_id)
    assert [gap["reason"] for gap in stream["gaps"]] == ["no agent on its node has read it"]
