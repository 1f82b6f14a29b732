"""Tests of clones on the local cluster: files left in its folders, allowed protocols, and the token."""

from dataclasses import replace
from pathlib import Path

import pytest

from services.executor.local.backend import LocalBackend, LocalLimits
from services.executor.local.sandbox import Sandbox
from tests.contracts.clusters import INSTALLATION, Origin, begin, end_of, files_with, log_of, run, said, spec
from tests.contracts.git_over_http import TOKEN, git_server


async def test_exactly_the_commit_is_built(local_cluster: LocalBackend, origin: Origin) -> None:
    script = "git rev-parse HEAD; git log --oneline | wc -l; ls; git status --short; echo x > first"
    made = await begin(local_cluster, spec(script, clone=origin.clone(origin.second)))
    _, end = await end_of(local_cluster, made.name)
    assert (end.exit_code, end.clone_failure) == (0, None)
    assert log_of(made).split() == [origin.second, "1", "first", "second"]
    assert made.containers == ("clone", "job")
    assert log_of(made, container="clone")
    pod = Path(made.log_location)
    assert (pod / "ended" / "clone").exists()
    assert (pod / "status.json").exists()


@pytest.mark.parametrize("sha", ["f" * 40, "--upload-pack=touch x", "main"])
async def test_a_clone_that_fails_says_what_git_said(
    local_cluster: LocalBackend, origin: Origin, sha: str
) -> None:
    end, log = await run(local_cluster, spec("echo ran", clone=origin.clone(sha)))
    assert (end.exit_code, log) == (None, "")
    assert end.clone_failure


async def test_protocols_that_are_not_allowed_are_not_spoken(
    sandbox: Sandbox, folder: Path, origin: Origin
) -> None:
    limits = LocalLimits(grace_seconds=1, gate_seconds=60, clone_seconds=60)
    async with LocalBackend(folder / "local", INSTALLATION, sandbox, limits) as cluster:
        end, _ = await run(cluster, spec(clone=origin.clone(origin.first)))
        assert "not allowed" in (end.clone_failure or "")


async def test_a_clones_credentials_are_nowhere_when_the_job_runs(
    local_cluster: LocalBackend, origin: Origin
) -> None:
    made = await begin(
        local_cluster,
        spec(
            "env; cat .git/config; echo begun; sleep 600", clone=origin.clone(origin.first, token="t0ps3cret")
        ),
    )
    await said(made, "begun")
    assert "t0ps3cret" not in log_of(made)
    assert files_with("t0ps3cret", made) == []


async def test_a_hook_of_a_repository_is_not_run_by_the_clone(
    local_cluster: LocalBackend, origin: Origin, folder: Path
) -> None:
    hook = origin.folder / ".git" / "hooks" / "post-checkout"
    hook.write_text(f"#!/bin/sh\ntouch {folder}/mount/hooked\n")
    hook.chmod(0o755)
    end, _ = await run(local_cluster, spec(clone=origin.clone(origin.first)))
    assert end.exit_code == 0
    assert not (folder / "mount" / "hooked").exists()


# ---------------------------------------------------------------- over HTTP


async def test_a_private_repository_is_cloned_with_its_token(
    local_cluster: LocalBackend, origin: Origin
) -> None:
    async with git_server(origin.folder / ".git") as server:
        clone = replace(origin.clone(origin.head, token=TOKEN, merge_sha=origin.merge), url=f"{server.url}/")
        made = await begin(
            local_cluster,
            spec(
                "git rev-parse HEAD; env; cat .git/config; git fetch origin main || echo refused", clone=clone
            ),
        )
        _, end = await end_of(local_cluster, made.name)
    log = log_of(made)
    assert (end.clone_failure, end.exit_code) == (None, 0)
    assert log.startswith(origin.merge)
    assert log.endswith("refused\n")
    assert TOKEN not in log + log_of(made, container="clone")
    assert files_with(TOKEN, made) == []


async def test_without_its_token_a_private_repository_is_not_cloned(
    local_cluster: LocalBackend, origin: Origin
) -> None:
    async with git_server(origin.folder / ".git") as server:
        end, _ = await run(
            local_cluster, spec(clone=replace(origin.clone(origin.head), url=f"{server.url}/"))
        )
    assert "could not read Username" in (end.clone_failure or "")


async def test_a_token_does_not_follow_a_redirect(local_cluster: LocalBackend, origin: Origin) -> None:
    async with git_server(origin.folder / ".git") as server:
        end, _ = await run(
            local_cluster,
            spec(clone=replace(origin.clone(origin.head, token=TOKEN), url=f"{server.url}/moved/")),
        )
    assert end.clone_failure
    assert len(server.headers) == 1
