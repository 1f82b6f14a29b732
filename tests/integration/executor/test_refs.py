"""Refs are resolved at the repository's server, each request once."""

from pathlib import Path

import pytest

from services.executor.git_queries import Answer, GitQueries, NotAnswered, Question
from tests.harness.git import GitRepository

QUERIES = GitQueries(seconds=30, at_once=2, allow_local=True)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> GitRepository:
    """A repository with two commits on main, a light and an annotated tag, and a commit of no ref."""
    made = GitRepository(tmp_path_factory.mktemp("refs") / "web")
    made.commit({"a": "1"}, "first")
    made.git("tag", "light")
    made.git("tag", "-a", "-m", "annotated", "v1")
    made.commit({"a": "2"}, "second")
    made.git("branch", "deep/refs/heads/main")
    made.git("checkout", "-q", "-b", "gone")
    made.commit({"a": "3"}, "dangling")
    made.git("checkout", "-q", "main")
    return made


async def asked(repository: GitRepository, *, ref: str | None = None, sha: str | None = None) -> Answer:
    return await QUERIES.answer(Question(repository.url, ref, sha, None))


@pytest.mark.parametrize(
    ("ref", "revision"),
    [
        ("refs/heads/main", "main"),
        ("refs/tags/light", "light"),
        ("refs/tags/v1", "v1^{commit}"),
        ("refs/heads/deep/refs/heads/main", "main"),
    ],
)
async def test_a_ref_is_resolved_to_its_commit(repository: GitRepository, ref: str, revision: str) -> None:
    found = await asked(repository, ref=ref)
    assert (found.outcome, found.sha) == ("resolved", repository.git("rev-parse", revision).strip())


@pytest.mark.parametrize(
    "ref", ["refs/heads/mai", "refs/tags/main", "refs/heads/--upload-pack=x", "refs/heads/heads/main"]
)
async def test_a_ref_that_is_not_there_is_gone(repository: GitRepository, ref: str) -> None:
    found = await asked(repository, ref=ref)
    assert (found.outcome, found.sha, found.message) == ("ref_gone", None, f"The repository has no {ref}.")


@pytest.mark.parametrize("revision", ["main", "main~1", "v1^{commit}"])
async def test_a_commit_that_a_ref_has_is_resolved(repository: GitRepository, revision: str) -> None:
    sha = repository.git("rev-parse", revision).strip()
    found = await asked(repository, sha=sha)
    assert (found.outcome, found.sha) == ("resolved", sha)


async def test_a_commit_that_no_ref_has_is_refused(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "web")
    repository.commit({"a": "1"})
    repository.git("checkout", "-q", "-b", "other")
    dangling = repository.commit({"a": "2"})
    repository.git("checkout", "-q", "main")
    repository.git("branch", "-q", "-D", "other")
    assert (await asked(repository, sha=dangling)).outcome == "sha_unreachable"
    assert (await asked(repository, sha="0" * 40)).outcome == "sha_unreachable"
    assert (await asked(repository, sha="HEAD")).outcome == "sha_unreachable"
    tree = repository.git("rev-parse", "main^{tree}").strip()
    assert (await asked(repository, sha=tree)).outcome == "sha_unreachable"


async def test_a_server_that_can_not_be_asked_gives_no_answer(tmp_path: Path) -> None:
    with pytest.raises(NotAnswered, match=r"does not appear to be a git repository|does not exist"):
        await QUERIES.answer(Question(f"file://{tmp_path}/nothing", "refs/heads/main", None, None))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("file:///srv/git/web", "must begin with https://"),
        ("https://127.0.0.1/octo/web.git", "This address is private"),
        ("https://localhost.localdomain/octo/web.git", "This name is private"),
        ("ext::sh -c true", "Only the characters of a URL"),
        ("--upload-pack=true", "Only the characters of a URL"),
    ],
)
async def test_the_executor_asks_only_public_servers(url: str, why: str) -> None:
    strict = GitQueries(seconds=30, at_once=1, allow_local=False)
    with pytest.raises(NotAnswered, match=why):
        await strict.answer(Question(url, "refs/heads/main", None, None))


async def test_a_slow_server_is_given_up_and_git_ended(tmp_path: Path) -> None:
    repository = GitRepository(tmp_path / "web")
    repository.commit({"a": "1"})
    hasty = GitQueries(seconds=0.000001, at_once=1, allow_local=True)
    with pytest.raises(NotAnswered, match="longer than"):
        await hasty.answer(Question(repository.url, "refs/heads/main", None, None))
