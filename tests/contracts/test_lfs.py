"""Contract tests of git LFS: the files come from the clone URL's server, with its token."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from services.executor.backend import Backend, PodEnd
from tests.contracts.clusters import Origin, spec
from tests.contracts.git_over_http import TOKEN, GitServer, git_server
from tests.contracts.grounds import ON_THIS_MACHINE, Ground, KubernetesGround, LocalGround, run

ATTRIBUTES = "*.bin filter=lfs diff=lfs merge=lfs -text\n"
CONTENT = b"a large file\n" * 10_000


@dataclass(frozen=True)
class Scene:
    """A repository on a server that pods can reach. Its file `large.bin` is in git LFS."""

    ground: Ground
    cluster: Backend
    forge: GitServer
    origin: Origin

    def host(self) -> str:
        return urlsplit(self.forge.url).hostname or ""

    def commit(self, **files: str) -> str:
        for name, content in {**files, ".gitattributes": ATTRIBUTES}.items():
            (self.origin.folder / name.replace("_", ".")).write_text(content)
        return self.origin.commit_all("files")

    async def built(
        self, script: str, sha: str, *, lfs: bool = True, submodules: bool = False
    ) -> tuple[PodEnd, str]:
        url = f"{self.forge.url}/{self.origin.folder.name}/.git"
        clone = replace(self.origin.clone(sha, token=TOKEN), url=url, lfs=lfs, shares_token=True)
        return await run(self.ground, self.cluster, spec(script, clone=replace(clone, submodules=submodules)))


@pytest.fixture
async def scene(ground: Ground, cluster: Backend, folder: Path, origin: Origin) -> AsyncIterator[Scene]:
    if isinstance(ground, LocalGround) and shutil.which("git-lfs") is None:
        pytest.skip("git-lfs is not installed")
    host = urlsplit(ground.witness.url).hostname if isinstance(ground, KubernetesGround) else None
    async with git_server(folder, host or "127.0.0.1") as forge:
        yield Scene(ground, cluster, forge, origin)


async def test_files_of_lfs_are_fetched_with_the_token_that_is_nowhere_afterwards(scene: Scene) -> None:
    sha = scene.commit(large_bin=scene.forge.pointer(CONTENT))
    script = (
        "wc -c < large.bin; git config filter.lfs.clean; "
        "grep -rs -e t0ps[3]cret -e eC1hY2Nlc3[M]tdG9rZW46 /towpath* . || echo nowhere"
    )
    end, log = await scene.built(script, sha)
    assert (end.clone_failure, end.exit_code) == (None, 0)
    assert log.splitlines() == [str(len(CONTENT)), "git-lfs clean -- %f", "nowhere"]
    assert scene.forge.refused == 0


@ON_THIS_MACHINE
async def test_without_the_key_the_pointer_stays(scene: Scene) -> None:
    sha = scene.commit(large_bin=scene.forge.pointer(CONTENT))
    end, log = await scene.built("head -n 1 large.bin", sha, lfs=False)
    assert (end.clone_failure, log) == (None, "version https://git-lfs.github.com/spec/v1\n")


async def test_files_of_lfs_in_a_submodule_are_fetched(scene: Scene) -> None:
    sha = scene.commit(large_bin=scene.forge.pointer(CONTENT))
    outer = scene.origin.link('[submodule "x"]\n\tpath = lib\n\turl = ../.git\n', lib=sha)
    end, log = await scene.built("wc -c < large.bin; wc -c < lib/large.bin", outer, submodules=True)
    assert (end.clone_failure, log.split()) == (None, [str(len(CONTENT))] * 2)


async def test_a_file_that_the_server_has_not_fails_the_clone(scene: Scene) -> None:
    pointer = scene.forge.pointer(CONTENT)
    scene.forge.objects.clear()
    sha = scene.commit(large_bin=pointer, _lfsconfig="[lfs]\n\tskipdownloaderrors = true\n")
    end, _ = await scene.built("echo ran", sha)
    assert end.exit_code is None
    assert "failed to fetch some objects" in (end.clone_failure or "")


@ON_THIS_MACHINE
@pytest.mark.parametrize("key", ["lfs", 'remote "origin"', 'lfs "customtransfer.x"'])
async def test_the_repository_chooses_no_other_server_and_no_program(scene: Scene, key: str) -> None:
    async with git_server(scene.origin.folder.parent, scene.host()) as other:
        config = (
            f"[{key}]\n\turl = {other.url}/x\n\tlfsurl = {other.url}/x\n\tpath = /bin/false\n"
            "[lfs]\n\tstandalonetransferagent = x\n"
        )
        sha = scene.commit(large_bin=scene.forge.pointer(CONTENT), _lfsconfig=config)
        end, log = await scene.built("wc -c < large.bin", sha)
        assert (end.clone_failure, log.strip()) == (None, str(len(CONTENT)))
        assert other.headers == []


async def test_the_token_is_not_sent_to_another_server_that_has_the_files(scene: Scene) -> None:
    async with git_server(scene.origin.folder.parent, scene.host()) as other:
        scene.forge.objects_url = other.url
        sha = scene.commit(large_bin=scene.forge.pointer(CONTENT))
        end, _ = await scene.built("echo ran", sha)
        assert end.clone_failure
        assert set(other.headers) == {None}
