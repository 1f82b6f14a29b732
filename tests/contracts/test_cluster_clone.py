"""Contract tests of clones: the commit in a job's workspace, and how it is fetched."""

from dataclasses import replace

import pytest

from services.executor.backend import AttemptSpec, Backend, Clone
from tests.contracts.clusters import Origin, spec
from tests.contracts.grounds import Ground, begin, end_of, run


def order(ground: Ground, origin: Origin, script: str, clone: Clone) -> AttemptSpec:
    return spec(script, clone=replace(clone, url=ground.clone_url(origin)))


async def test_exactly_the_commit_is_built(ground: Ground, cluster: Backend, origin: Origin) -> None:
    script = "git rev-parse HEAD; git log --oneline | wc -l; ls; git status --short; echo x > first"
    made = await begin(cluster, order(ground, origin, script, origin.clone(origin.second)))
    _, end = await end_of(cluster, made)
    assert (end.exit_code, end.clone_failure) == (0, None)
    assert (await ground.log_of(made)).split() == [origin.second, "1", "first", "second"]
    assert made.containers == ("clone", "job")
    assert await ground.log_of(made, "clone")


async def test_a_pull_request_builds_the_merge_of_its_head(
    ground: Ground, cluster: Backend, origin: Origin
) -> None:
    wanted = order(
        ground, origin, "git rev-parse HEAD; ls", origin.clone(origin.head, merge_sha=origin.merge)
    )
    _, log = await run(ground, cluster, wanted)
    assert log.split() == [origin.merge, "first", "second", "topic"]


@pytest.mark.parametrize("merge", ["second", "none"])
async def test_a_merge_of_something_else_is_not_built(
    ground: Ground, cluster: Backend, origin: Origin, merge: str
) -> None:
    merge_sha = origin.second if merge == "second" else "0" * 40
    _, log = await run(
        ground,
        cluster,
        order(ground, origin, "git rev-parse HEAD", origin.clone(origin.head, merge_sha=merge_sha)),
    )
    assert log.split() == [origin.head]


@pytest.mark.parametrize("option", ["-a", "--no-sign"])
async def test_a05_a_tags_run_has_it(ground: Ground, cluster: Backend, origin: Origin, option: str) -> None:
    origin.tag("v1.0", origin.second, option)
    clone = replace(origin.clone(origin.second), ref="refs/tags/v1.0")
    script = "git rev-parse HEAD; git describe --tags --exact-match; git tag; git rev-list --count HEAD"
    end, log = await run(ground, cluster, order(ground, origin, script, clone))
    assert (end.exit_code, log.split()) == (0, [origin.second, "v1.0", "v1.0", "1"]), end.clone_failure


@pytest.mark.parametrize("name", ["moved", "gone"])
async def test_a05_a_tag_that_was_moved_or_deleted_is_not_there(
    ground: Ground,
    cluster: Backend,
    origin: Origin,
    name: str,
) -> None:
    origin.tag("moved", origin.first)
    clone = replace(origin.clone(origin.second), ref=f"refs/tags/{name}")
    end, log = await run(ground, cluster, order(ground, origin, "git rev-parse HEAD; git tag", clone))
    assert (end.clone_failure, log.split()) == (None, [origin.second])


async def test_a05_all_tags_and_the_history(ground: Ground, cluster: Backend, origin: Origin) -> None:
    origin.tag("v1.0", origin.first, "-a")
    clone = replace(origin.clone(origin.second), depth=0, tags=True)
    wanted = order(ground, origin, "git describe; git rev-list --count HEAD", clone)
    end, log = await run(ground, cluster, wanted)
    assert (end.exit_code, log.split()) == (0, [f"v1.0-1-g{origin.second[:7]}", "2"])


async def test_the_repository_is_cloned_into_a_folder_of_the_workspace(
    ground: Ground, cluster: Backend, origin: Origin
) -> None:
    clone = replace(origin.clone(origin.second), folder="web/app")
    script = "ls -a | tail -n +3; cd web/app; git rev-parse HEAD; git status --short; touch ../mine; ls"
    end, log = await run(ground, cluster, order(ground, origin, script, clone))
    assert (end.clone_failure, end.exit_code) == (None, 0)
    assert log.split() == ["web", origin.second, "first", "second"]


async def test_a_folder_that_cannot_be_made_fails_the_clone(
    ground: Ground, cluster: Backend, origin: Origin
) -> None:
    clone = replace(origin.clone(origin.second), folder="x" * 300)
    end, _ = await run(ground, cluster, order(ground, origin, "echo ran", clone))
    assert (end.exit_code, end.fault) == (None, None)
    assert "File name too long" in (end.clone_failure or "")


@pytest.mark.parametrize("sha", ["f" * 40, "--upload-pack=touch x", "main"])
async def test_a_clone_that_fails_says_what_git_said(
    ground: Ground, cluster: Backend, origin: Origin, sha: str
) -> None:
    end, log = await run(ground, cluster, order(ground, origin, "echo ran", origin.clone(sha)))
    assert (end.exit_code, log) == (None, "")
    assert end.clone_failure


async def test_a_clones_credentials_are_nowhere_when_the_job_runs(
    ground: Ground, cluster: Backend, origin: Origin
) -> None:
    token = "t0ps" + "3cret"
    checks = (
        "env; cat .git/config; cat /proc/self/mounts; ls -R /towpath* 2>/dev/null || :; grep -rs "
        "t0ps[3]cret /towpath* . || echo nowhere"
    )
    end, log = await run(
        ground, cluster, order(ground, origin, checks, origin.clone(origin.first, token=token))
    )
    assert end.exit_code == 0
    assert token not in log
    assert log.endswith("nowhere\n")
