"""Tests of the removal and change of owner of trees that user code made, of any depth and size."""

import os
import stat
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from services.executor.trees import give_away, remove_part, remove_tree
from tests.harness.deep_trees import descriptors_bounded, dig, owners_below

ROOT = Path(__file__).parents[4]
AS_ROOT = os.getuid() == 0
NOBODY = 65534


@pytest.mark.parametrize("levels", [1, 15, 16, 17, 33, 1200, 20_000])
def test_x01_a_tree_of_any_depth_is_removed_with_few_descriptors(tmp_path: Path, levels: int) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    dig(tree, levels)
    with descriptors_bounded(64):
        remove_tree(tree)
    assert list(tmp_path.iterdir()) == []


def test_x01_the_memory_of_a_removal_does_not_grow_with_the_tree(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for side in range(3):
        (tree / str(side)).mkdir(parents=True)
        dig(tree / str(side), 3000)
    for number in range(5000):
        (tree / f"file-{number}").touch()
    tracemalloc.start()
    try:
        remove_tree(tree)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not tree.exists()
    assert peak < 200_000


def test_x01_a_wide_and_deep_tree_goes_part_by_part(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for number in range(40):
        (tree / f"side-{number}").mkdir(parents=True)
        dig(tree / f"side-{number}", 40)
    entries = 40 * (1 + 2 * 40) + 1
    parts = 1
    while not remove_part(tree, 50):
        parts += 1
    assert not tree.exists()
    assert parts >= entries // 50


def test_links_out_of_a_tree_are_not_followed(tmp_path: Path) -> None:
    kept, tree = tmp_path / "kept", tmp_path / "tree"
    kept.mkdir()
    (kept / "file").touch()
    tree.mkdir()
    (tree / "link").symlink_to(kept)
    remove_tree(tree)
    (tmp_path / "tree").symlink_to(kept)
    remove_tree(tree)
    assert [path.name for path in kept.iterdir()] == ["file"]
    assert not os.path.lexists(tree)


@pytest.mark.parametrize("tree", ["missing", "file", "missing/below"])
def test_what_is_no_folder_is_gone_as_well(tmp_path: Path, tree: str) -> None:
    (tmp_path / "file").touch()
    remove_tree(tmp_path / tree)
    assert not os.path.lexists(tmp_path / tree)


@pytest.mark.parametrize("mode", [0o000, 0o500, 0o300])
def test_x01_folders_closed_to_their_owner_are_removed(tmp_path: Path, mode: int) -> None:
    """Remove the tree as a user other than root, because root may open every folder."""
    tmp_path.chmod(0o755)
    home = tmp_path / "home"
    (home / "tree").mkdir(parents=True)
    dig(home / "tree", 100, mode)
    if AS_ROOT:
        for path in (home, home / "tree"):
            os.chown(path, NOBODY, NOBODY)
        give_away(home / "tree", (NOBODY, NOBODY))
    script = "from pathlib import Path; services.executor.trees.remove_tree(Path('tree'))"
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": ()} if AS_ROOT else {}
    preloaded = f"import sys, os; sys.path.insert(0, {str(ROOT)!r}); import services.executor.trees; "
    as_user = f"os.setgid({NOBODY}); os.setuid({NOBODY}); " if user else ""
    subprocess.run([sys.executable, "-c", preloaded + as_user + script], cwd=home, check=True)
    assert list(home.iterdir()) == []


@pytest.mark.skipif(not AS_ROOT, reason="only root may give files away")
@pytest.mark.parametrize("levels", [1, 1200, 5000])
def test_x01_a_tree_of_any_depth_is_given_away_with_few_descriptors(tmp_path: Path, levels: int) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    dig(tree, levels)
    with descriptors_bounded(16):
        give_away(tree, (NOBODY, NOBODY))
    assert tree.stat().st_uid == NOBODY
    assert owners_below(tree) == [NOBODY] * (2 * levels)
    remove_tree(tree)


@pytest.mark.skipif(not AS_ROOT, reason="only root may give files away")
def test_links_are_given_away_and_not_followed(tmp_path: Path) -> None:
    kept, tree = tmp_path / "kept", tmp_path / "tree"
    kept.mkdir()
    (kept / "file").touch()
    (tree / "a" / "b").mkdir(parents=True)
    (tree / "a" / "link").symlink_to(kept)
    give_away(tree, (NOBODY, NOBODY))
    assert (tree / "a" / "link").lstat().st_uid == NOBODY
    assert (tree / "a" / "b").stat().st_uid == NOBODY
    assert {path.stat().st_uid for path in (kept, kept / "file")} == {0}


def test_what_can_not_be_removed_is_said_and_the_rest_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    (tree / "below").mkdir(parents=True)
    for path in (tree / "kept", tree / "below" / "gone", tree / "gone"):
        path.touch()
    unlink = os.unlink

    def refuse(name: str, *, dir_fd: int | None = None) -> None:
        if name == "kept":
            raise PermissionError(1, "not permitted", name)
        unlink(name, dir_fd=dir_fd)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(PermissionError):
        remove_tree(tree)
    assert [path.name for path in tree.iterdir()] == ["kept"]
    assert stat.S_ISREG((tree / "kept").stat().st_mode)
