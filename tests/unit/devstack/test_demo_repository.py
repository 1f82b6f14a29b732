"""Tests of the demo's repository and of the push that announces a commit."""

import subprocess
import sys
from pathlib import Path

from devstack.demo_repository import PIPELINE, DemoRepository, push_payload
from shared.pipeline.load import load


def git(directory: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(directory), *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_every_push_is_one_commit_on_main(tmp_path: Path) -> None:
    repository = DemoRepository(tmp_path / "repository")
    first, second = repository.push(), repository.push()
    assert second.before == first.after
    assert git(tmp_path / "repository", "rev-parse", "main") == second.after
    assert git(tmp_path / "repository", "rev-list", "--count", f"{second.before}..{second.after}") == "1"
    assert git(tmp_path / "repository", "status", "--porcelain") == ""


def test_the_commands_of_the_pipeline_are_green_on_a_push(tmp_path: Path) -> None:
    DemoRepository(tmp_path / "repository").push()
    for arguments in (["compileall", "greeting.py", "test_greeting.py"], ["unittest", "--verbose"]):
        assert f"python3 -m {arguments[0]}" in PIPELINE
        subprocess.run(
            [sys.executable, "-m", *arguments], cwd=tmp_path / "repository", capture_output=True, check=True
        )


def test_the_payload_tells_of_the_commit(tmp_path: Path) -> None:
    push = DemoRepository(tmp_path / "repository").push()
    payload = push_payload(push, "octo/demo", 42)
    assert (payload["before"], payload["after"], payload["ref"]) == (
        push.before,
        push.after,
        "refs/heads/main",
    )
    assert payload["commits"] == [payload["head_commit"]]
    assert isinstance(payload["repository"], dict)
    assert payload["repository"]["id"] == 42
    assert payload["repository"]["full_name"] == "octo/demo"


def test_the_pipeline_is_valid_and_runs_lint_before_test() -> None:
    pipeline = load(PIPELINE.format(repository="octo/demo"))
    assert [(job.name, list(job.needs)) for job in pipeline.jobs] == [("lint", []), ("test", ["lint"])]
