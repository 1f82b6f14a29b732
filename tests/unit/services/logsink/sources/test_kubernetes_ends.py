"""Tests of the conditions under which the Kubernetes source ends a log."""

from collections.abc import Awaitable, Callable

import pytest

from tests.fakes.kubernetes_logs import FakeContainer, FakeKubernetes, FakeKubernetesPod
from tests.unit.services.logsink.sources.reading import Reader


async def over(pod: FakeKubernetesPod) -> None:
    pod.phase = "Failed"


async def going(pod: FakeKubernetesPod) -> None:
    pod.deletion = "2026-11-23T12:00:00Z"


@pytest.mark.parametrize("end", [over, going])
async def test_a_container_that_never_began_is_empty_and_complete(
    pod: FakeKubernetesPod, reader: Reader, end: Callable[[FakeKubernetesPod], Awaitable[None]]
) -> None:
    await reader.read()
    await end(pod)
    await pod.report()
    await reader.to_the_end()
    assert (reader.text, reader.gaps) == (b"", [])


async def test_a_verdict_ends_what_has_not_begun(
    fake: FakeKubernetes, pod: FakeKubernetesPod, reader: Reader
) -> None:
    await reader.read()
    await reader.until(lambda: fake.asked("watch=true"), "the watch")
    assert not reader.has_ended
    reader.source.attempt_over("image_missing")
    await reader.to_the_end()
    assert (reader.text, reader.gaps) == (b"", [])
    assert fake.asked("/pods/pod-1") == 1  # requested again after the verdict


async def test_a_verdict_does_not_end_what_runs(job: FakeContainer, reader: Reader) -> None:
    await reader.read()
    reader.source.attempt_over("timed_out")
    await job.prints(b"one\n")
    await reader.until(lambda: reader.text)
    assert not reader.has_ended


async def test_a_pod_that_is_gone_is_a_gap(fake: FakeKubernetes, job: FakeContainer, reader: Reader) -> None:
    await job.prints(b"one\nunended")
    await reader.until(lambda: reader.text)
    await fake.remove("pod-1")
    await reader.to_the_end()
    assert (reader.text, reader.gaps) == (b"one\n", ["the pod is gone"])


async def test_another_pod_of_that_name_is_not_read(fake: FakeKubernetes, reader: Reader) -> None:
    pod = await fake.make("pod-1", uid="another")
    await pod.containers["job"].start()
    await pod.containers["job"].prints(b"secret\n")
    await reader.to_the_end()
    assert (reader.text, reader.gaps) == (b"", ["the pod is gone"])


async def test_a_pod_that_lost_its_label_is_not_gone(
    fake: FakeKubernetes, pod: FakeKubernetesPod, job: FakeContainer, reader: Reader
) -> None:
    await job.prints(b"one\n")
    await reader.until(lambda: reader.text)
    pod.labels.clear()
    await fake.tell("DELETED", pod.as_json())
    await reader.until(lambda: fake.asked("/pods/pod-1") > 1, "a look")
    await job.prints(b"two\n")
    await job.end()
    await reader.to_the_end()
    assert (reader.text, reader.gaps) == (b"one\ntwo\n", [])


async def test_a_lost_node_is_a_gap_when_the_log_can_not_be_read(
    fake: FakeKubernetes, job: FakeContainer, reader: Reader
) -> None:
    await reader.read()
    fake.refusals = [(500, b"dial tcp: no route to host")] * 50
    reader.source.attempt_over("node_lost")
    await reader.to_the_end()
    assert (reader.text, reader.gaps) == (b"", ["the node is lost"])


async def test_a_watch_that_must_begin_anew_does(
    fake: FakeKubernetes, pod: FakeKubernetesPod, reader: Reader
) -> None:
    await reader.read()
    await reader.until(lambda: fake.asked("watch=true"), "the watch")
    await fake.changed("MODIFIED", pod)
    await fake.tell("ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"})
    await pod.containers["job"].start()
    await pod.containers["job"].prints(b"one\n")
    await reader.until(lambda: reader.text == b"one\n")
