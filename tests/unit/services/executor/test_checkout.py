"""What git is asked for, whatever a forge or a person wrote."""

import re
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.executor.checkout import Checkout, Commit, GaveUp, Sink

SHA, MERGE = "a" * 40, "b" * 40
COMMIT = Commit("https://forge.example/octo/web.git", SHA, "refs/heads/main", None, 1, "t0ps3cret", "https")
TEXT = st.text(max_size=20)


class Git:
    """Answers as it was told; everything else works and says nothing."""

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
    Checkout(commit, git, lambda _: None).run()
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
    assert fetched == [["fetch", "--no-tags", "--no-recurse-submodules", "--depth=1", "--end-of-options", COMMIT.url, MERGE]] * 2


def test_the_ref_is_fetched_where_the_server_gives_out_no_commit() -> None:
    git = Git({SHA: (128, b"error: Server does not allow request for unadvertised object\n")})
    with pytest.raises(GaveUp):  # the last command of it, the checkout, is answered alike
        built(COMMIT, git)
    assert [asked[-1] for asked in git.asked] == [SHA, "refs/heads/main", SHA]


def test_another_failure_is_final() -> None:
    git = Git({SHA: (128, b"remote: go away\nfatal: could not read Username\nadvice\n")})
    checkout = Checkout(COMMIT, git, lambda _: None)
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


@given(st.builds(Commit, TEXT, TEXT | st.just(SHA), st.none() | TEXT, st.none() | TEXT, st.integers(0, 9), st.none(), st.just("https")))
def test_hostile_text_is_never_an_option(commit: Commit) -> None:
    git = Git({commit.sha: (128, b"not our ref")})
    with pytest.raises(GaveUp):
        Checkout(commit, git, lambda _: None).run()
    for asked in git.asked:
        if asked[0] == "fetch":
            options, end, url, revision = asked[1:-3], *asked[-3:]
            assert (end, url) == ("--end-of-options", commit.url)
            assert re.fullmatch(r"[0-9a-f]{40}|refs/\S+", revision)
            assert set(options) <= {"--no-tags", "--no-recurse-submodules", f"--depth={commit.depth}"}
        else:
            assert re.fullmatch("[0-9a-f]{40}", asked[-1])
