"""Contract tests of submodules: which are fetched, with which credentials, and which are refused."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from services.executor.backend import Backend, Clone, PodEnd
from tests.contracts.clusters import Origin, spec
from tests.contracts.git_over_http import TOKEN, GitServer, git_server
from tests.contracts.grounds import ON_THIS_MACHINE, Ground, KubernetesGround, run


def module(path: str, url: str) -> str:
    return f'[submodule "{path}"]\n\tpath = {path}\n\turl = {url}\n'


@pytest.fixture
async def forge(ground: Ground, folder: Path) -> AsyncIterator[GitServer]:
    """A server of all repositories in the folder, which pods can reach."""
    host = urlsplit(ground.witness.url).hostname if isinstance(ground, KubernetesGround) else None
    async with git_server(folder, host or "127.0.0.1") as server:
        yield server


@pytest.fixture
def lib(folder: Path) -> Origin:
    return Origin(folder / "lib")


@dataclass(frozen=True)
class Scene:
    """A repository, and one for its submodules, on a server that pods can reach."""

    ground: Ground
    cluster: Backend
    forge: GitServer
    origin: Origin
    lib: Origin

    def clone(self, sha: str) -> Clone:
        url = f"{self.forge.url}/{self.origin.folder.name}/.git"
        clone = replace(self.origin.clone(sha, token=TOKEN), url=url)
        return replace(clone, submodules="recursive", shares_token=True)

    async def built(self, script: str, clone: Clone) -> tuple[PodEnd, str]:
        return await run(self.ground, self.cluster, spec(script, clone=clone))


@pytest.fixture
def scene(ground: Ground, cluster: Backend, forge: GitServer, origin: Origin, lib: Origin) -> Scene:
    return Scene(ground, cluster, forge, origin, lib)


SCRIPT = (
    "ls lib lib/deep; git -C lib rev-parse HEAD; git submodule status --recursive; git status --short; "
    "git submodule --quiet foreach 'git fetch origin main 2>/dev/null || echo refused'; cat lib/.git/config"
)


@pytest.mark.parametrize("path", ["", "app"])
async def test_submodules_of_submodules_are_fetched_with_the_token_of_their_server(
    scene: Scene, path: str
) -> None:
    deep = Origin(scene.origin.folder.parent / "deep")
    inner = scene.lib.link(module("deep", "../../deep/.git"), deep=deep.first)
    outer = scene.origin.link(module("lib", f"{scene.forge.url}/lib/.git"), lib=inner)
    clone = replace(scene.clone(outer), folder=path)
    script = f"cd ./{path}; {SCRIPT}; grep -rs t0ps[3]cret /towpath* . || echo nowhere"
    end, log = await scene.built(script, clone)
    assert (end.clone_failure, end.exit_code) == (None, 0)
    words = log.split()
    assert words[: words.index(inner)] == ["lib:", "deep", "first", "second", "topic", "lib/deep:", "first"]
    assert f" {inner} lib" in log
    assert f" {deep.first} lib/deep" in log
    assert log.count("refused") == 1
    assert log.endswith("nowhere\n")
    assert TOKEN not in log


@ON_THIS_MACHINE
@pytest.mark.parametrize(("submodules", "seen"), [(False, []), (True, ["deep", "first", "second", "topic"])])
async def test_one_level_or_none_is_fetched(scene: Scene, submodules: bool, seen: list[str]) -> None:
    inner = scene.lib.link(module("deep", "../../lib/.git"), deep=scene.lib.first)
    outer = scene.origin.link(module("lib", "../../lib/.git"), lib=inner)
    clone = replace(scene.clone(outer), submodules=submodules)
    end, log = await scene.built("ls lib; if test -d lib/deep; then ls lib/deep; fi", clone)
    assert (end.clone_failure, log.split()) == (None, seen)


async def test_the_token_of_an_untrusted_run_is_not_for_submodules(scene: Scene) -> None:
    outer = scene.origin.link(module("lib", "../../lib/.git"), lib=scene.lib.first)
    clone = replace(scene.clone(outer), shares_token=False)
    end, _ = await scene.built("echo ran", clone)
    assert "submodule 'lib': could not read Username" in (end.clone_failure or "")


@ON_THIS_MACHINE
async def test_a_submodule_of_another_private_server_is_not_even_asked_for(scene: Scene) -> None:
    async with git_server(scene.origin.folder.parent, urlsplit(scene.forge.url).hostname or "") as other:
        url = other.url.replace("http", "https")
        outer = scene.origin.link(module("lib", f"{url}/lib/.git"), lib=scene.lib.first)
        end, _ = await scene.built("echo ran", scene.clone(outer))
        assert "of another server is refused: This address is private." in (end.clone_failure or "")
        assert other.headers == []


@ON_THIS_MACHINE
async def test_a_redirect_of_a_submodule_is_not_followed(scene: Scene) -> None:
    outer = scene.origin.link(module("lib", "../../moved/lib/.git"), lib=scene.lib.first)
    end, _ = await scene.built("echo ran", scene.clone(outer))
    assert "submodule 'lib'" in (end.clone_failure or "")


HOSTILE = {
    "ssh": (module("lib", "ssh://forge.example/lib"), "allowed are https:// URLs and relative ones"),
    "scp": (module("lib", "git@forge.example:octo/lib"), "allowed are https:// URLs"),
    "git": (module("lib", "git://forge.example/lib"), "allowed are https:// URLs"),
    "file": (module("lib", "file:///lib"), "allowed are https:// URLs"),
    "local path": (module("lib", "/srv/lib"), "allowed are https:// URLs"),
    "command": (module("lib", "ext::sh -c 'touch /tmp/x'"), "allowed are https:// URLs"),
    "option": (module("lib", "--upload-pack=x"), "allowed are https:// URLs"),
    "up and out": (module("lib", "../../../../../../../../../x"), "leaves the server"),
    "path above": (module("lib", "../x") + module("../up", "../x"), "the name '../up' of a submodule"),
    "path in .git": (
        module("lib", "../x") + '[submodule "x"]\n\tpath = a/.GIT/hooks\n',
        "the path 'a/.GIT/hooks' of a submodule",
    ),
    "path like an option": (module("lib", "../x") + module("-x", "../x"), "the name '-x' of a submodule"),
    "no entry": (module("other", "../x"), "no URL for the submodule 'lib'"),
    "no file of git's": ("[submodule\n", "its file .gitmodules can't be read"),
    "an included file": ("[include]\n\tpath = /etc/passwd\n", "no URL for the submodule 'lib'"),
}


@ON_THIS_MACHINE
@pytest.mark.parametrize("kind", HOSTILE)
async def test_hostile_modules_are_refused_with_the_reason(scene: Scene, kind: str) -> None:
    modules, reason = HOSTILE[kind]
    outer = scene.origin.link(modules, lib=scene.origin.first)
    end, log = await scene.built("echo ran", scene.clone(outer))
    assert (end.exit_code, log) == (None, "")
    assert reason in (end.clone_failure or "")


@ON_THIS_MACHINE
async def test_a_command_in_the_modules_is_not_run(scene: Scene) -> None:
    modules = f"{module('lib', '../../lib/.git')}\tupdate = !touch /towpath/workspace/ran ran\n"
    outer = scene.origin.link(modules, lib=scene.lib.first)
    end, log = await scene.built("ls -A", scene.clone(outer))
    assert (end.clone_failure, end.exit_code) == (None, 0)
    assert log.split() == [".git", ".gitmodules", "first", "lib", "second", "topic"]


@ON_THIS_MACHINE
async def test_the_nesting_of_submodules_is_limited(scene: Scene) -> None:
    sha = scene.origin.first
    for _ in range(11):
        sha = scene.origin.link(module("lib", "../.git"), lib=sha)
    end, _ = await scene.built("echo ran", scene.clone(sha))
    assert "nested 10 levels deep" in (end.clone_failure or "")
