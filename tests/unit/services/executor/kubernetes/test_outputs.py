"""Tests of reading outputs from the log of their container: nothing that is missing counts as an output."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from services.executor import outputs_container
from services.executor.backend import Phase, Pod, PodEnd
from services.executor.kubernetes.outputs import OutputsReader
from services.executor.step_outputs import Collected, OutputsProblem
from shared.kubernetes.client import ApiError, ApiUnavailable, KubernetesApi

PRINTED = Collected({"a": {"x": "v"}})
LOG = outputs_container.shown(PRINTED).encode()
ENDED = Pod(uid="u", name="tp-1-abc", phase=Phase.ENDED, end=PodEnd(exit_code=0, outputs=None))
LOST = OutputsProblem.LOST


class Answers:
    """An API server that gives these answers, in order, to reads of a log."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, Any]] = []

    @asynccontextmanager
    async def stream(self, path: str, **query: Any) -> AsyncIterator[AsyncIterator[bytes]]:
        self.asked.append((path, query["container"]))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        yield _parts(answer)


async def _parts(answer: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(answer), 10):
        yield answer[start : start + 10]


async def completed(answers: Sequence[bytes | Exception], seconds: float = 0) -> tuple[Pod, Answers]:
    api = Answers(*answers)
    reader = OutputsReader(cast("KubernetesApi", api), "/api/v1/namespaces/builds/pods", 300)
    return await reader.complete(ENDED, seconds), api


async def test_rule_3_outputs_are_read_from_the_log_of_their_container() -> None:
    pod, api = await completed([LOG])
    assert pod.end == PodEnd(exit_code=0, outputs=PRINTED.outputs)
    assert api.asked == [("/api/v1/namespaces/builds/pods/tp-1-abc/log", "outputs")]


@pytest.mark.parametrize("cut", [0, 1, 20, len(LOG) - 2])
async def test_rule_3_an_answer_that_was_cut_is_read_again(cut: int) -> None:
    pod, _ = await completed([LOG[:cut], LOG])
    assert pod.end == PodEnd(exit_code=0, outputs=PRINTED.outputs)


@pytest.mark.parametrize(
    "answers",
    [
        [b"", b""],
        [b"Killed\n", b"Killed\n"],
        [LOG[:-3], LOG[:-3]],
        [b"x" * 2_000_000, b"x" * 2_000_000],
        [ApiError(404, "NotFound", "no pod")],
        [ApiError(403, "Forbidden", "no right")],
    ],
    ids=["nothing", "words", "cut", "too much", "gone", "forbidden"],
)
async def test_rule_3_outputs_that_nobody_can_read_are_lost(answers: list[bytes | Exception]) -> None:
    pod, api = await completed(answers)
    assert pod.end == PodEnd(exit_code=0, outputs={}, outputs_problem=LOST)
    assert api.answers == []


@pytest.mark.parametrize(("seconds", "phase"), [(299, Phase.RELEASED), (300, Phase.ENDED)])
async def test_rule_3_outputs_on_a_node_that_does_not_answer_are_awaited_for_a_while(
    seconds: float, phase: Phase
) -> None:
    pod, _ = await completed([ApiUnavailable("dial tcp: connection refused")], seconds)
    assert pod.phase is phase
    assert pod.end is None or pod.end.outputs_problem is LOST
