"""Tests of the files of a push, as both forges send them."""

from typing import Any

import orjson
import pytest

from shared.events import Event
from shared.forges import changed_files, normalise
from shared.forges.changed_files import COMMIT_LIMIT, FILE_LIMIT, FILES_LIMIT_BYTES, Unknown
from shared.path_filters import _UNKNOWN
from tests.harness.github import ZERO, FakeRepository, new_sha, push
from tests.payloads import examples

HEADERS = {"content-type": "application/json"}
OCTO_WEB = FakeRepository("octo/web")


def read(payload: dict[str, Any], forge: str = "github") -> Event:
    said = normalise(forge, "push", HEADERS, orjson.dumps(payload)).said
    assert isinstance(said, Event)
    return said


def commit(**files: Any) -> dict[str, Any]:
    return {"id": new_sha(), "added": [], "modified": [], "removed": []} | files


def pushed(*commits: Any, **fields: Any) -> dict[str, Any]:
    return {**push(OCTO_WEB), "commits": list(commits), **fields}


def gitea_push(*commits: Any, **fields: Any) -> dict[str, Any]:
    """Return a push with the fields that Gitea sends: no `created`, no `forced`, and a count of commits."""
    payload = pushed(*commits, total_commits=len(commits), **fields)
    for name in ("created", "deleted", "forced", "base_ref"):
        del payload[name]
    return payload


def test_the_files_are_the_union_over_the_commits() -> None:
    one = commit(added=["src/new.py"], modified=["README.md"])
    other = commit(removed=["src/new.py", "old name.txt"], modified=["é.md"])
    event = read(pushed(one, other))
    assert event.changed_files == ("README.md", "old name.txt", "src/new.py", "é.md")
    assert event.files_unknown is None


def test_gitea_leaves_empty_lists_out() -> None:
    event = read(gitea_push(commit(added=None, removed=None, modified=["a"])), "gitea")
    assert event.changed_files == ("a",)


SEVERAL = [commit(modified=[f"{number}"]) for number in range(COMMIT_LIMIT)]


@pytest.mark.parametrize(
    ("payload", "forge", "why"),
    [
        (pushed(commit(modified=["a"]), forced=True), "github", Unknown.FORCED),
        (pushed(commit(modified=["a"]), before=ZERO, created=True), "github", Unknown.NEW_BRANCH),
        (gitea_push(commit(modified=["a"]), before=ZERO), "gitea", Unknown.NEW_BRANCH),
        (pushed(), "github", Unknown.NO_COMMITS),
        (gitea_push(), "gitea", Unknown.NO_COMMITS),
        (pushed(*SEVERAL), "github", Unknown.TOO_MANY_COMMITS),
        (gitea_push(commit(modified=["a"])) | {"total_commits": 6}, "gitea", Unknown.TRUNCATED),
        (pushed(commits=None), "github", Unknown.NOT_LISTED),
        (pushed("a", None), "github", Unknown.NOT_LISTED),
        (pushed({"id": "1"}), "github", Unknown.NOT_LISTED),
        (pushed(commit(added=[1])), "github", Unknown.NOT_LISTED),
        (pushed(commit(added="a")), "github", Unknown.NOT_LISTED),
        (
            pushed(commit(added=[f"{n}" for n in range(FILE_LIMIT + 1)])),
            "github",
            Unknown.TOO_MANY_FILES,
        ),
        (
            pushed(commit(added=[f"{n:0256}" for n in range(FILES_LIMIT_BYTES // 256 + 1)])),
            "github",
            Unknown.TOO_MANY_FILES,
        ),
        (
            pushed(*[commit(added=["same"] * 1000)] * 61),
            "github",
            Unknown.TOO_MANY_FILES,
        ),
    ],
)
def test_a_list_that_is_not_complete_is_not_known(payload: Any, forge: str, why: Unknown) -> None:
    event = read(payload, forge)
    assert (event.changed_files, event.files_unknown) == (None, why)


def test_the_limits_themselves_are_allowed() -> None:
    assert len(read(pushed(commit(added=[f"{n}" for n in range(FILE_LIMIT)]))).changed_files or ()) == 3000
    names = [f"{n:0256}" for n in range(FILES_LIMIT_BYTES // 256)]
    assert len(read(pushed(commit(added=names))).changed_files or ()) == len(names)


@pytest.mark.parametrize(
    "payload",
    [push(OCTO_WEB, ref="refs/tags/v1"), push(OCTO_WEB, sha=ZERO)],
    ids=["tag", "deletion"],
)
def test_tags_and_deletions_have_no_files(payload: Any) -> None:
    event = read(payload)
    assert (event.changed_files, event.files_unknown) == (None, None)


def test_a_push_of_the_same_commit_changed_no_file() -> None:
    sha = new_sha()
    assert read(pushed(before=sha, after=sha)).changed_files == ()


def test_the_examples_of_github_are_of_new_branches_and_tags() -> None:
    whys = {name: read(body).files_unknown for name, body in examples("push")}
    assert {name for name, why in whys.items() if why is Unknown.NEW_BRANCH} == {"push-4", "push-5"}
    assert set(whys.values()) == {Unknown.NEW_BRANCH, None}


def test_an_example_of_github_to_a_branch_that_exists_has_its_files() -> None:
    example = dict(examples("push"))["push-4"]
    event = read(example | {"created": False, "before": new_sha()})
    assert event.changed_files == ("README.md",)


def test_every_unknown_list_has_its_sentence() -> None:
    assert set(_UNKNOWN) == set(changed_files.Unknown)
