"""Logs of real pods, read in both ways, while the log sink is killed.

The stored log is exact, or every missing line is inside a declared gap.
"""

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import pytest
from pydantic import SecretStr

from services.logsink.locations import API_SCHEME, NODE_SCHEME, PodName
from services.logsink.step_ends import END_NOT_KEPT
from shared import step_markers
from shared.kubernetes.client import KubernetesApi
from shared.messaging.bus import open_bus
from shared.messaging.messages import ContainerStarted
from shared.settings import BusSettings
from tests.contracts.log_worlds import POD_LOGS, pod_manifest
from tests.harness.kubernetes import kubeconfig, nodes_for_pods
from tests.harness.waiting import until
from tests.integration.logsink.running import Record
from tests.integration.logsink.test_process import log_sink

CLUSTER = "real"
SINK, AGENT = "services.logsink", "services.logsink.agent"
STEP = "::towpath-0123456789abcdef::begin 1 test\n"
"""The first line of every job's log."""
LINE = re.compile(rb"line (\d{8}) x*")
GAP = b"[towpath: lines may be missing here: "
pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Way:
    """A way to read logs, with the processes that use it."""

    scheme: str
    processes: dict[str, dict[str, str]]
    database_url: str
    amqp_url: str
    record: Record
    api: KubernetesApi
    namespace: str

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[list[asyncio.subprocess.Process]]:
        """Run the processes in the block, and kill them at its end."""
        async with AsyncExitStack() as stack:
            yield [
                await stack.enter_async_context(
                    log_sink(self.database_url, self.amqp_url, module, **settings)
                )
                for module, settings in self.processes.items()
            ]

    async def runs(self, script: str, image: str = "busybox:latest") -> int:
        """Start a pod whose container `job` runs this script as a step. Return the id of its attempt.

        The attempt is announced with the message that the executor sends.
        """
        step = f"printf '%s\\n' '{STEP.strip()}'; {script}"
        made = await self.api.post(
            f"/api/v1/namespaces/{self.namespace}/pods", pod_manifest(["sh", "-c", step], image)
        )
        pod = PodName(self.namespace, made["metadata"]["name"], made["metadata"]["uid"])
        attempt_id = await self.record.attempt(
            f"{self.scheme}{pod.namespace}/{pod.name}/{pod.uid}", cluster=CLUSTER
        )
        async with open_bus(BusSettings(amqp_url=SecretStr(self.amqp_url)), "test") as bus:
            await bus.publish(ContainerStarted(attempt_ids=(attempt_id,)))
        return attempt_id

    async def was_rotated_twice(self) -> bool:
        return len({path.name[:21] for path in POD_LOGS.glob(f"{self.namespace}_*/job/0.log.*")}) >= 2

    async def stored_bytes(self, attempt_id: int) -> int:
        stream = await self.record.stream(attempt_id)
        return stream["stored_bytes"] if stream else 0

    async def text(self, attempt_id: int) -> bytes:
        """Return the stored output of the script."""
        return (await self.record.text(attempt_id)).removeprefix(STEP.encode())

    async def has_stored(self, attempt_id: int, count: int) -> None:
        async def check() -> bool:
            return await self.stored_bytes(attempt_id) >= count

        await until(check, within=60, what=f"{count} bytes")


@dataclass(frozen=True)
class Servers:
    database_url: str
    amqp_url: str


@pytest.fixture
def servers_used(database_url: str, amqp_url: str) -> Servers:
    return Servers(database_url, amqp_url)


@pytest.fixture(params=["api", "agent"])
async def way(
    request: pytest.FixtureRequest,
    servers_used: Servers,
    record: Record,
    kubernetes: KubernetesApi,
    build_namespace: str,
) -> Way:
    path = str(kubeconfig())
    processes = {SINK: {"TOWPATH_KUBECONFIGS": f"{CLUSTER}={path}"}}
    if request.param == "agent":
        if not POD_LOGS.is_dir():
            pytest.skip(f"the pods of this Kubernetes do not run on this machine: no {POD_LOGS}")
        nodes = [node["metadata"]["name"] for node in await nodes_for_pods(kubernetes)]
        if len(nodes) > 1:
            pytest.skip(
                "this Kubernetes has several nodes that a pod may run on, and one agent reads the logs of "
                f"one: {nodes}"
            )
        named = {"TOWPATH_CLUSTER": CLUSTER, "TOWPATH_KUBECONFIG": path, "TOWPATH_AGENT_NODE": nodes[0]}
        processes[AGENT] = named | {
            "TOWPATH_KUBERNETES_NAMESPACE": build_namespace,
            "TOWPATH_AGENT_POD_LOGS": str(POD_LOGS),
        }
    scheme = NODE_SCHEME if request.param == "agent" else API_SCHEME
    return Way(
        scheme,
        processes,
        servers_used.database_url,
        servers_used.amqp_url,
        record,
        kubernetes,
        build_namespace,
    )


def numbered(first: int, last: int, bytes_each: int) -> str:
    """Return a script that prints lines with these numbers as fast as it can."""
    filling = "x" * (bytes_each - len("line 00000000 \n"))
    return (
        f"""awk 'BEGIN {{ for (i = {first}; i <= {last}; i++) printf "line %08d %s\\n", i, "{filling}" }}'"""
    )


def check_numbers(text: bytes, count: int) -> int:
    """Check that every line is there once and in order, or is missing at a declared gap.

    Returns the number of missing lines. containerd may write the two parts of a line to two log files, so a
    line next to a gap may be incomplete.
    """
    before, is_gap, missing = 0, False, 0
    lines = text.splitlines()
    for index, line in enumerate(lines):
        if line.startswith(GAP):
            is_gap = True
            continue
        found = LINE.fullmatch(line)
        if not found and any(
            other.startswith(GAP)
            for other in (lines[max(index - 1, 0)], lines[min(index + 1, len(lines) - 1)])
        ):
            continue
        assert found, f"{line!r} after {before}, {is_gap=}"
        number = int(found[1])
        assert number == before + 1 or (is_gap and number > before), f"{number} after {before}, {is_gap=}"
        missing += number - before - 1
        before, is_gap = number, False
    assert before == count or is_gap, f"the log ends with {before}"
    return missing + count - before


@pytest.mark.slow
async def test_a_hundred_thousand_lines_are_exact_though_the_log_sink_is_killed(way: Way) -> None:
    async with way.reading():
        attempt_id = await way.runs(
            "; sleep 0.5; ".join(numbered(first, first + 24_999, 60) for first in range(1, 100_000, 25_000))
        )
        await way.has_stored(attempt_id, len(STEP) + 1)
    for _ in range(3):
        stored = await way.stored_bytes(attempt_id)
        async with way.reading():
            if stored < len(STEP) + 6_000_000:
                await way.has_stored(attempt_id, stored + 1)
    async with way.reading():
        stream = await way.record.sealed(attempt_id, within=60)
    text = await way.text(attempt_id)
    assert (check_numbers(text, 100_000), stream["gaps"]) == (0, [])
    assert len(text) == 6_000_000


@pytest.mark.slow
async def test_sixty_mebibytes_at_once_are_exact_or_declare_their_gaps(way: Way) -> None:
    """The output is large enough for a rotation by the kubelet, which checks every 10 s.

    The container runs until the rotation.
    """
    count = (60 << 20) // 120
    async with way.reading():
        attempt_id = await way.runs(
            f"{numbered(1, count, 120)}; sleep 12; {numbered(count + 1, count + 1, 120)}"
        )
        await way.has_stored(attempt_id, 5 << 20)
    async with way.reading():
        stream = await way.record.sealed(attempt_id, within=120)
    missing = check_numbers(await way.text(attempt_id), count + 1)
    print(
        f"{way.scheme} {missing} of {count + 1} lines missing, in {len(stream['gaps'])} gaps: "
        f"{stream['gaps']}"
    )


@pytest.mark.slow
async def test_what_is_rotated_while_the_log_sink_stands_still_is_declared(way: Way) -> None:
    """The log sink is paused. The kubelet then skips a whole file without an error."""
    count = 800_000
    async with way.reading() as processes:
        if not POD_LOGS.is_dir():
            pytest.skip(f"the pods of this Kubernetes do not run on this machine: no {POD_LOGS}")
        attempt_id = await way.runs(
            "; sleep 0.6; ".join(numbered(first, first + 19_999, 120) for first in range(1, count, 20_000))
        )
        await way.has_stored(attempt_id, 1 << 20)
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        await until(way.was_rotated_twice, within=100, what="two rotated files")
        for process in processes:
            process.send_signal(signal.SIGCONT)
        stream = await way.record.sealed(attempt_id, within=100)
    missing = check_numbers(await way.text(attempt_id), count)
    print(f"{way.scheme} {missing} of {count} lines missing, in {len(stream['gaps'])} gaps: {stream['gaps']}")


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("echo hello", b"hello\n"),
        ("printf 'no line feed'", b"no line feed"),
        ("true", b""),
        ("printf '\\n\\n'", b"\n\n"),
    ],
)
async def test_a_short_or_silent_container_is_sealed_and_exact(way: Way, script: str, text: bytes) -> None:
    async with way.reading():
        attempt_id = await way.runs(script)
        stream = await way.record.sealed(attempt_id, within=30)
    assert (await way.text(attempt_id), stream["gaps"]) == (text, [])


@pytest.mark.parametrize(
    ("marker", "gaps"), [("", [END_NOT_KEPT]), ("::towpath-{}::end 1 0 s\\n", [])], ids=["cut", "whole"]
)
async def test_a19_an_end_that_a_real_cluster_did_not_keep_is_a_gap(
    way: Way, marker: str, gaps: list[str]
) -> None:
    """The container notes that its step has ended, as the step driver does, with or without the marker."""
    printed = marker.format(step_markers.nonce("t"))
    note = "printf '\\ndriver\\n1 12 s0\\nover' > /dev/termination-log"
    async with way.reading():
        attempt_id = await way.runs(f"printf 'line 993\\nline 99{printed}'; {note}")
        stream = await way.record.sealed(attempt_id, within=30)
    assert [gap["reason"] for gap in stream["gaps"]] == gaps
    assert (await way.text(attempt_id)).startswith(b"line 993\nline 99" + (b"\n" + GAP if gaps else b"::"))


async def test_a_container_whose_image_is_never_there_is_sealed_by_its_verdict(way: Way) -> None:
    async with way.reading():
        attempt_id = await way.runs("true", image="busybox:no-such-tag")

        async def is_open() -> object:
            return await way.record.stream(attempt_id)

        stream = await until(is_open, within=20, what="the stream")
        assert isinstance(stream, dict)
        assert stream["sealed_at"] is None
        await way.record.connection.execute(
            "UPDATE attempts SET status = 'finished', outcome = 'error', reason = 'image_missing', "
            "finished_at = now() WHERE id = $1",
            attempt_id,
        )
        stream = await way.record.sealed(attempt_id, within=60)
    assert (await way.text(attempt_id), stream["gaps"]) == (b"", [])


async def test_a_pod_that_was_deleted_is_sealed_with_a_gap(way: Way) -> None:
    async with way.reading():
        attempt_id = await way.runs("echo hello; sleep 1000")
        await way.has_stored(attempt_id, len(STEP) + 6)
    (pod,) = (await way.api.get(f"/api/v1/namespaces/{way.namespace}/pods"))["items"]
    await way.api.delete(
        f"/api/v1/namespaces/{way.namespace}/pods/{pod['metadata']['name']}",
        {"gracePeriodSeconds": 0, "propagationPolicy": "Background"},
    )

    async def is_gone() -> bool:
        return not (await way.api.get(f"/api/v1/namespaces/{way.namespace}/pods"))["items"]

    await until(is_gone, within=30, what="the pod's end")
    async with way.reading():
        stream = await way.record.sealed(attempt_id, within=60)
    assert (await way.text(attempt_id)).startswith(b"hello\n" + GAP)
    assert len(stream["gaps"]) == 1
