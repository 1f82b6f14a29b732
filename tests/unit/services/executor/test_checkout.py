"""Tests of the git commands of a checkout, with any input from a forge or a user."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.executor.checkout import Checkout, Commit, GaveUp, Sink

SHA, MERGE = "a" * 40, "b" * 40
COMMIT = Commit("https://forge.example/octo/web.git", SHA, "refs/heads/main", None, 1, "t0ps3cret", "https")
TEXT = st.text(max_size=20)
WORKSPACE = Path("/nowhere")


class Git:
    """A fake git with prepared answers. Every other command succeeds without output."""

    def __init__(self, answers: Mapping[str, tuple[int, bytes]] | None = None) -> None:
        self.answers = answers or {}
        self.asked: list[list[str]] = []
        self.variables: list[Mapping[str, str]] = []

    def __call__(self, arguments: Sequence[str], variables: Mapping[str, str], sink: Sink) -> int:
        self.asked.append(list(arguments))
        self.variables.append(variables)
        code, said = self.answers.get(arguments[-1], (0, b""))
        sink(said)
        return code


def built(commit: Commit, git: Git) -> str:
    Checkout(commit, git, lambda _: None, WORKSPACE).run()
    assert git.asked[-1][:-1] == ["checkout", "--quiet", "--force", "--detach"]
    return git.asked[-1][-1]


def test_a_merge_is_built_only_where_it_merges_the_head() -> None:
    commit = Commit(COMMIT.url, SHA, None, MERGE, 1, None, "https")
    fetched: list[list[str]] = []
    for parent, expected in ((SHA, MERGE), ("c" * 40, SHA)):
        raw = f"tree x\nparent {'d' * 40}\nparent {parent}\n\nparent {SHA} in the message\n".encode()
        git = Git({MERGE: (0, raw)})
        assert built(commit, git) == expected
        fetched += git.asked[:1]
    assert (
        fetched
        == [
            [
                "fetch",
                "--no-tags",
                "--no-recurse-submodules",
                "--depth=1",
                "--end-of-options",
                COMMIT.url,
                MERGE,
            ]
        ]
        * 2
    )


def test_the_ref_is_fetched_where_the_server_gives_out_no_commit() -> None:
    git = Git({SHA: (128, b"error: Server does not allow request for unadvertised object\n")})
    with pytest.raises(GaveUp):  # the last command, the checkout of the same SHA, fails in the same way
        built(COMMIT, git)
    assert [asked[-1] for asked in git.asked] == [SHA, "refs/heads/main", SHA]


TAG = replace(COMMIT, ref="refs/tags/v1.0")
TAG_FETCH = "+refs/tags/v1.0:refs/tags/v1.0"
NAMES = "refs/tags/v1.0^{commit}"


@pytest.mark.parametrize("names", [f"{SHA}\n{SHA}\n", f"{'e' * 40}\n{SHA}\n", f"{SHA}\n{'e' * 40}\n"])
def test_a05_the_tag_of_a_tag_run_is_fetched_under_its_name(names: str) -> None:
    git = Git({NAMES: (0, names.encode())})
    assert built(TAG, git) == SHA
    assert [asked[-1] for asked in git.asked] == [TAG_FETCH, NAMES, SHA]
    assert "--depth=1" in git.asked[0]


def test_a05_a_tag_that_names_another_commit_now_is_not_kept() -> None:
    git = Git({NAMES: (0, f"{'e' * 40}\n{'f' * 40}\n".encode())})
    assert built(TAG, git) == SHA
    assert git.asked[2] == ["update-ref", "-d", "refs/tags/v1.0"]
    assert [asked[-1] for asked in git.asked[3:]] == [SHA, SHA]


@pytest.mark.parametrize(
    "said", [b"fatal: couldn't find remote ref refs/tags/v1.0", b"fatal: invalid refspec"]
)
def test_a05_where_the_tag_is_gone_its_commit_is_built(said: bytes) -> None:
    git = Git({TAG_FETCH: (128, said)})
    assert built(TAG, git) == SHA
    assert [asked[-1] for asked in git.asked] == [TAG_FETCH, SHA, SHA]


def test_a05_a_tag_that_cannot_be_fetched_for_another_reason_is_a_failure() -> None:
    git = Git({TAG_FETCH: (128, b"fatal: could not read Username\n")})
    with pytest.raises(GaveUp):
        built(TAG, git)
    assert len(git.asked) == 1


@pytest.mark.parametrize("commit", [COMMIT, TAG])
@pytest.mark.parametrize("depth", [0, 1])
def test_a05_all_tags_come_with_the_commit(commit: Commit, depth: int) -> None:
    git = Git()
    assert built(replace(commit, tags=True, depth=depth), git) == SHA
    depths = ["--depth=1"] if depth else []
    expected = ["fetch", "--tags", "--no-recurse-submodules", *depths, "--end-of-options", COMMIT.url, SHA]
    assert git.asked[:-1] == [expected]


def test_another_failure_is_final() -> None:
    git = Git({SHA: (128, b"remote: go away\nfatal: could not read Username\nadvice\n")})
    checkout = Checkout(COMMIT, git, lambda _: None, WORKSPACE)
    with pytest.raises(GaveUp):
        checkout.run()
    assert len(git.asked) == 1
    assert checkout.complaint == "fatal: could not read Username"


def test_the_token_goes_to_fetches_from_its_server_alone() -> None:
    git = Git()
    built(COMMIT, git)
    told = ["http.https://forge.example/.extraHeader" in variables.values() for variables in git.variables]
    assert (told, [asked[0] for asked in git.asked]) == ([True, False], ["fetch", "checkout"])
    assert "t0ps3cret" not in repr(COMMIT)
    assert all("t0ps3cret" not in argument for asked in git.asked for argument in asked)


LFS = replace(COMMIT, lfs=True)


def test_files_of_lfs_are_fetched_from_the_clone_url_with_the_token_in_one_command() -> None:
    git = Git()
    Checkout(LFS, git, lambda _: None, WORKSPACE).run()
    assert [asked[:2] for asked in git.asked if asked[0] == "lfs"] == [
        ["lfs", "version"],
        ["lfs", "install"],
        ["lfs", "fetch"],
        ["lfs", "checkout"],
    ]
    for asked, variables in zip(git.asked, git.variables, strict=True):
        told = "http.https://forge.example/.extraHeader" in variables.values()
        assert told == ("fetch" in asked[:2])
        if asked[0] == "lfs":
            assert f"{COMMIT.url}/info/lfs" in variables.values()


def test_where_git_lfs_is_missing_the_clone_fails_before_it_fetches() -> None:
    git = Git({"version": (1, b"git: 'lfs' is not a git command. See 'git --help'.\n")})
    checkout = Checkout(LFS, git, lambda _: None, WORKSPACE)
    with pytest.raises(GaveUp):
        checkout.run()
    assert len(git.asked) == 1
    assert "needs the program git-lfs, which is not installed" in checkout.complaint


def test_lfs_needs_a_clone_url_over_http() -> None:
    checkout = Checkout(replace(LFS, url="file:///srv/web.git"), Git(), lambda _: None, WORKSPACE)
    with pytest.raises(GaveUp):
        checkout.run()
    assert "needs a clone URL that begins with https://" in checkout.complaint


REFS = st.none() | TEXT | TEXT.map("refs/tags/{}".format)
COMMITS = st.builds(
    Commit,
    url=TEXT,
    sha=TEXT | st.just(SHA),
    ref=REFS,
    merge_sha=st.none() | TEXT,
    depth=st.integers(0, 9),
    token=st.none(),
    protocols=st.just("https"),
    tags=st.booleans(),
)


@given(COMMITS)
def test_hostile_text_is_never_an_option(commit: Commit) -> None:
    git = Git({commit.sha: (128, b"not our ref")})
    with pytest.raises(GaveUp):
        Checkout(commit, git, lambda _: None, WORKSPACE).run()
    for asked in git.asked:
        if asked[0] == "fetch":
            options, end, url, revision = asked[1:-3], *asked[-3:]
            assert (end, url) == ("--end-of-options", commit.url)
            assert re.fullmatch(r"[0-9a-f]{40}|refs/[^\x00-\x20:]+|\+(refs/tags/[^\x00-\x20:]*):\1", revision)
            allowed = {"--no-tags", "--tags", "--no-recurse-submodules", f"--depth={commit.depth}"}
            assert set(options) <= allowed
        elif asked[0] in {"rev-parse", "update-ref"}:
            assert asked[-1].startswith("refs/tags/")
        else:
            assert re.fullmatch("[0-9a-f]{40}", asked[-1])
