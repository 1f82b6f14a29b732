"""Tests of the program of the container `clone`, started as a kubelet starts it."""

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.executor import clone
from services.executor.checkout import Commit, GaveUp
from services.executor.clone_order import Order
from tests.contracts.clusters import Origin
from tests.harness.deep_trees import dig
from tests.harness.waiting import until

ROOT = Path(__file__).parents[4]


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    return Origin(tmp_path / "origin")


@pytest.fixture
def order(tmp_path: Path, origin: Origin) -> Order:
    commit = Commit(
        origin.url, origin.second, "refs/heads/main", None, depth=1, token="t0ps3cret", protocols="file"
    )
    return Order(
        commit,
        str(tmp_path / "workspace"),
        str(tmp_path / "started"),
        str(tmp_path / "termination"),
        seconds=30,
    )


def start(order: Order, folder: Path) -> subprocess.Popen[str]:
    """Start the program without variables, in a folder that contains none of our files."""
    (folder / "order").write_bytes(order.encode())
    command = [
        sys.executable,
        "-c",
        (
            "import sys, runpy; sys.path[0] = sys.argv.pop(1); runpy.run_module('services.executor.clone', "
            "run_name='__main__')"
        ),
    ]
    return subprocess.Popen(
        [*command, str(ROOT), str(folder / "order")],
        cwd="/",
        env={},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(order: Order, folder: Path) -> tuple[int, str]:
    with start(order, folder) as process:
        said, _ = process.communicate(timeout=30)
    return process.returncode, said


def head(order: Order) -> str:
    return subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=order.workspace, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_exactly_the_commit_comes_into_the_workspace(order: Order, origin: Origin, tmp_path: Path) -> None:
    code, said = run(order, tmp_path)
    assert (code, head(order)) == (0, origin.second)
    assert sorted(path.name for path in Path(order.workspace).iterdir()) == [".git", "first", "second"]
    assert said
    assert not Path(order.termination).exists()
    assert b"t0ps3cret" not in b"".join(
        path.read_bytes() for path in Path(order.workspace).rglob("*") if path.is_file()
    )


@pytest.mark.parametrize(("tags", "found"), [(False, "v1.0\n"), (True, "old\nv1.0\n")])
def test_a05_a_tag_is_cloned(order: Order, origin: Origin, tmp_path: Path, tags: bool, found: str) -> None:
    origin.tag("old", origin.first)
    origin.tag("v1.0", origin.second, "-a")
    order = replace(order, commit=replace(order.commit, ref="refs/tags/v1.0", tags=tags))
    assert (run(order, tmp_path)[0], head(order)) == (0, origin.second)
    git = ["git", "-C", order.workspace]
    assert subprocess.check_output([*git, "tag"], text=True) == found
    assert subprocess.check_output([*git, "describe", "--exact-match"], text=True) == "v1.0\n"


def test_a_pull_request_is_cloned_as_its_merge(order: Order, origin: Origin, tmp_path: Path) -> None:
    order = replace(order, commit=replace(order.commit, sha=origin.head, merge_sha=origin.merge))
    assert run(order, tmp_path)[0] == 0
    assert head(order) == origin.merge


@pytest.mark.parametrize(
    ("changes", "failure"),
    [
        ({"sha": "f" * 40, "ref": None}, "not our ref"),
        ({"sha": "--upload-pack=x"}, "not a commit's SHA"),
        ({"url": "file:///nowhere"}, "does not"),
        ({"protocols": "https"}, "not allowed"),
    ],
)
def test_a_failure_is_left_as_a_sentence(
    order: Order, changes: dict[str, Any], failure: str, tmp_path: Path
) -> None:
    code, said = run(replace(order, commit=replace(order.commit, **changes)), tmp_path)
    assert code != 0
    assert failure in Path(order.termination).read_text()
    assert failure in said


@pytest.mark.parametrize("folder", ["web/app", "-x", "a b", "."])
def test_the_repository_comes_into_the_folder_of_the_order(
    order: Order, origin: Origin, tmp_path: Path, folder: str
) -> None:
    order = replace(order, commit=replace(order.commit, folder=folder))
    assert run(order, tmp_path)[0] == 0
    repository = Path(order.workspace) / folder
    assert sorted(path.name for path in repository.iterdir()) == [".git", "first", "second"]
    assert head(replace(order, workspace=str(repository))) == origin.second


def test_a_folder_that_cannot_be_made_is_a_failure(order: Order, tmp_path: Path) -> None:
    code, said = run(replace(order, commit=replace(order.commit, folder="x" * 300)), tmp_path)
    assert (code, "File name too long" in said) == (1, True)
    assert "The clone can't be made" in Path(order.termination).read_text()


def test_another_try_begins_with_an_empty_workspace(order: Order, origin: Origin, tmp_path: Path) -> None:
    assert run(replace(order, commit=replace(order.commit, sha=origin.first)), tmp_path)[0] == 0
    (Path(order.workspace) / "left").touch()
    assert run(order, tmp_path)[0] == 0
    assert sorted(path.name for path in Path(order.workspace).iterdir()) == [".git", "first", "second"]


def test_a_workspace_that_is_a_link_is_not_followed(order: Order, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    Path(order.workspace).symlink_to(tmp_path / "elsewhere")
    assert run(order, tmp_path)[0] == 0
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_x01_what_a_try_before_left_is_removed(order: Order, origin: Origin, tmp_path: Path) -> None:
    Path(order.workspace).mkdir()
    dig(Path(order.workspace), 3000)
    assert run(order, tmp_path)[0] == 0
    assert head(order) == origin.second
    assert sorted(path.name for path in Path(order.workspace).iterdir()) == [".git", "first", "second"]


def test_where_user_code_has_begun_nothing_is_touched(order: Order, tmp_path: Path) -> None:
    Path(order.started).mkdir()
    code, _ = run(order, tmp_path)
    assert code == 97
    assert not Path(order.workspace).exists()
    assert "has begun" in Path(order.termination).read_text()


def test_a_clone_that_hangs_is_ended(order: Order, tmp_path: Path) -> None:
    order = replace(order, seconds=0.5, commit=replace(order.commit, url=hanging(tmp_path)))
    code, _ = run(order, tmp_path)
    assert code == 1
    assert "longer than 0.5 seconds" in Path(order.termination).read_text()


async def test_a_stop_ends_git_too(order: Order, tmp_path: Path) -> None:
    with start(replace(order, commit=replace(order.commit, url=hanging(tmp_path))), tmp_path) as process:
        [git] = await until(lambda: children(process.pid), within=10, what="git runs")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 143

    async def gone() -> bool:
        return not Path(f"/proc/{git}").exists()  # noqa: ASYNC240 - the kernel answers at once

    await until(gone, within=10, what="the end of git")


def test_a_stop_that_comes_while_git_is_being_started_ends_git_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    start_program = subprocess.Popen

    def stopped_meanwhile(*arguments: Any, **options: Any) -> "subprocess.Popen[bytes]":
        started.append(start_program(*arguments, **options))
        signal.pthread_kill(
            threading.get_ident(), signal.SIGTERM
        )  # other threads of the tests could receive it; a clone has none
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", stopped_meanwhile)
    before = signal.signal(signal.SIGTERM, clone._stop)
    try:
        with pytest.raises(GaveUp):
            clone._Git(str(tmp_path))(["-c", "alias.hang=!sleep 60", "hang"], {}, lambda _: None)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert started[0].returncode == -signal.SIGKILL


def hanging(folder: Path) -> str:
    """Return the URL of a repository whose `HEAD` is a named pipe, so that git waits for it forever."""
    for name in ("objects", "refs"):
        (folder / "hanging" / name).mkdir(parents=True)
    os.mkfifo(folder / "hanging" / "HEAD")
    return f"file://{folder}/hanging"


async def children(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in children.read_text().split()]  # noqa: ASYNC240 - does not block
