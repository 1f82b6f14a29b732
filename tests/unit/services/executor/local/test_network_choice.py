"""Tests of the choice of a network for jobs: a start that a vanished mount spoiled is repeated."""

from pathlib import Path
from typing import Any

import pytest

from services.executor.local.network_choice import Isolation, NetworkWish, isolate
from services.executor.local.sandbox import Sandbox, SandboxUnusable

VANISHED = (
    "bwrap: Can't bind mount /oldroot/ on /newroot/: Unable to apply mount flags: "
    'remount "/newroot/var/lib/kubelet/pods/1/volumes": No such file or directory'
)


class Answers:
    """A fork server that gives these answers in turn, the last one for ever."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def prepare_network(self, _order: object) -> str:
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


async def isolated(server: Any, folder: Path, choice: Any = "own") -> Isolation:
    return await isolate(NetworkWish(choice), Sandbox(None, None, bubblewrap=True), server, folder)


async def test_x12_a_mount_that_vanishes_meanwhile_costs_jobs_no_network(tmp_path: Path) -> None:
    server = Answers(VANISHED, VANISHED, "")
    assert (await isolated(server, tmp_path)).own_network
    assert server.asked == 3


@pytest.mark.parametrize(("answer", "asked"), [(VANISHED, 5), ("slirp4netns is not installed", 1)])
async def test_x12_a_network_that_cannot_be_prepared_is_refused_with_the_reason(
    tmp_path: Path, answer: str, asked: int
) -> None:
    server = Answers(answer)
    with pytest.raises(SandboxUnusable) as refused:
        await isolated(server, tmp_path)
    assert answer in str(refused.value)
    assert server.asked == asked
