"""X1: jobs and repositories with thousands of nested folders."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from services.executor.local.backend import LocalBackend
from services.executor.local.folders import Removals
from services.executor.local.pod_files import STAGED
from services.executor.local.sandbox import Sandbox
from services.executor.trees import remove_tree
from tests.contracts.clusters import INSTALLATION, LIMITS, Origin, begin, end_of, log_of, run, spec
from tests.harness.deep_trees import descriptors_bounded, dig
from tests.harness.waiting import until

LEVELS = 3000
DIG = f"""python3 - <<'END'
import os
for _ in range({LEVELS}):
    os.mkdir("d")
    os.chdir("d")
print("deep")
END
"""


async def gone(path: Path) -> None:
    async def check() -> bool:
        return not os.path.lexists(path)  # noqa: ASYNC240 - the kernel answers at once

    await until(check, within=60, what=f"{path} is removed")


@pytest.mark.parametrize("place", ["workspace", "home"])
async def test_x01_a_job_with_deep_folders_is_removed_with_its_batch(
    local_cluster: LocalBackend, place: str
) -> None:
    into = {"workspace": "", "home": 'cd "$HOME"\n'}[place]
    made = [
        await begin(local_cluster, spec(script, attempt=number))
        for number, script in enumerate(["true", into + DIG, "true"], 1)
    ]
    for pod in made:
        await end_of(local_cluster, pod.name, within=60)
    assert "deep" in log_of(made[1])
    with descriptors_bounded(100):
        for pod in made:
            await local_cluster.drop_workspace(pod.name, pod.object_uid)
        for pod in made:
            await local_cluster.remove(pod.name, pod.object_uid)
    assert list((Path(made[0].log_location).parent).iterdir()) == []


async def test_x01_leftovers_do_not_stop_an_executors_start(sandbox: Sandbox, folder: Path) -> None:
    pods = folder / "local" / "pods"
    leftovers = [pods / f"{STAGED}{number}" for number in range(3)]
    for leftover in leftovers:
        (leftover / "job").mkdir(parents=True)
        dig(leftover / "job", LEVELS)
        os.utime(leftover, (time.time() - 3600,) * 2)
    async with LocalBackend(folder / "local", INSTALLATION, sandbox, LIMITS) as cluster:
        end, log = await run(cluster, spec("echo ran"))
        assert (end.exit_code, log) == (0, "ran\n")
        for leftover in leftovers:
            await gone(leftover)
        for left in await cluster.everything():
            await cluster.remove(left.name, left.object_uid)


async def test_x01_a_leftover_that_can_not_be_removed_stops_nothing(
    sandbox: Sandbox, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pods = folder / "local" / "pods"
    for number in range(3):
        (pods / f"{STAGED}{number}" / "job").mkdir(parents=True)
        (pods / f"{STAGED}{number}" / "job" / ("kept" if number == 1 else "file")).touch()
        os.utime(pods / f"{STAGED}{number}", (time.time() - 3600,) * 2)
    unlink = os.unlink

    def refuse(name: str, *, dir_fd: int | None = None) -> None:
        if name == "kept":
            raise PermissionError(1, "not permitted", name)
        unlink(name, dir_fd=dir_fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", refuse)
        async with LocalBackend(folder / "local", INSTALLATION, sandbox, LIMITS) as cluster:
            for number in (0, 2):
                await gone(pods / f"{STAGED}{number}")
            made = await begin(cluster, spec(": > kept"))
            await end_of(cluster, made.name)
            await cluster.drop_workspace(made.name, made.object_uid)
            await cluster.remove(made.name, made.object_uid)
            assert await cluster.everything() == []
    assert (pods / f"{STAGED}1" / "job" / "kept").exists()


async def test_x01_a_huge_tree_does_not_hold_up_the_others(tmp_path: Path) -> None:
    """Removals take turns: a small tree is removed before a huge one that came earlier."""
    huge, small = tmp_path / "huge", tmp_path / "small"
    for side in range(10):
        (huge / str(side)).mkdir(parents=True)
        dig(huge / str(side), 2000)
    small.mkdir()
    dig(small, 20)
    async with Removals() as removals:
        removing = asyncio.create_task(removals.remove([huge]))
        await asyncio.sleep(0)
        await removals.remove([small])
        assert not small.exists()
        assert huge.exists()
        await gone(huge)
        await removing


async def test_x01_a_deep_repository_is_built(local_cluster: LocalBackend, origin: Origin) -> None:
    """The folders are as deep as the longest path that git creates."""
    levels = 1800
    dig(origin.folder, levels)
    sha = origin.commit_all("deep")
    script = "find . -path ./.git -prune -o -name file -print | wc -l; find ! -user $(id -u) | wc -l; rm -r d"
    made = await begin(local_cluster, spec(script, clone=origin.clone(sha)))
    _, end = await end_of(local_cluster, made.name, within=60)
    assert (end.clone_failure, end.exit_code) == (None, 0)
    assert log_of(made).split() == [str(levels), "0"]
    remove_tree(origin.folder)
