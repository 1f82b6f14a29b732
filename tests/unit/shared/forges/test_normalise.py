"""Tests of the normalisation of deliveries, for each forge.

The result is correct if the body is, and conservative otherwise. No body raises an unexpected error.
"""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.events import LONGEST_VARIABLE_BYTES, Event, EventKind, Ignored
from shared.forges import Malformed, Reading, normalise
from tests.harness.github import ZERO, FakeRepository, pull_request, push

OCTO_WEB = FakeRepository("octo/web", 42)
JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
AGIT_REF = "refs/pull/7/head"


def read(event_type: str, body: dict[str, Any], source: str = "github") -> Reading:
    return normalise(source, event_type, JSON, orjson.dumps(body))


def event_of(event_type: str, body: dict[str, Any], source: str = "github") -> Event:
    said = read(event_type, body, source).said
    assert isinstance(said, Event)
    return said


def test_a_push_of_a_branch() -> None:
    event = event_of(
        "push", push(OCTO_WEB, sha="a" * 40, before="b" * 40, ref="refs/heads/feature/x", message="hello")
    )
    assert (event.kind, event.ref, event.branch, event.tag) == (
        EventKind.PUSH,
        "refs/heads/feature/x",
        "feature/x",
        None,
    )
    assert (event.sha, event.before_sha, event.message, event.trusted, event.deleted) == (
        "a" * 40,
        "b" * 40,
        "hello",
        True,
        False,
    )
    assert (event.repository, event.sender_login, event.sender_id) == ("octo/web", "mona", 11)


def test_a_push_of_a_tag_is_no_push_of_a_branch() -> None:
    event = event_of("push", push(OCTO_WEB, ref="refs/tags/v1.0", before=ZERO))
    assert (event.kind, event.tag, event.branch, event.before_sha) == (EventKind.TAG, "v1.0", None, None)


@pytest.mark.parametrize("source", ["github", "gitea"])
@pytest.mark.parametrize(
    ("ref", "head_commit", "expected"),
    [
        ("refs/tags/v1.0", {"id": "c" * 40}, "c" * 40),
        ("refs/tags/v1.0", None, "a" * 40),
        ("refs/tags/v1.0", {"id": "--upload-pack=x"}, "a" * 40),
        ("refs/tags/v1.0", {"id": "c" * 64}, "a" * 40),
        ("refs/tags/v1.0", {"id": ZERO}, "a" * 40),
        ("refs/tags/v1.0", {"message": "no id"}, "a" * 40),
        ("refs/heads/main", {"id": "c" * 40}, "a" * 40),
    ],
)
def test_a04_the_sha_of_a_pushed_tag_is_the_commit_that_the_forge_names(
    source: str, ref: str, head_commit: dict[str, str] | None, expected: str
) -> None:
    body = push(OCTO_WEB, ref=ref, sha="a" * 40, before=ZERO) | {"head_commit": head_commit}
    assert event_of("push", body, source).sha == expected


@pytest.mark.parametrize("source", ["github", "gitea"])
def test_a04_a_deleted_tag_has_no_sha(source: str) -> None:
    body = push(OCTO_WEB, ref="refs/tags/v1.0", sha=ZERO) | {"head_commit": {"id": "c" * 40}}
    event = event_of("push", body, source)
    assert (event.deleted, event.sha) == (True, None)


@pytest.mark.parametrize("source", ["github", "gitea"])
def test_a_deletion_is_known_by_its_zero_sha(source: str) -> None:
    body = push(OCTO_WEB, sha=ZERO)
    del body["deleted"], body["created"], body["forced"]
    event = event_of("push", body, source)
    assert (event.deleted, event.sha, event.message) == (True, None, None)


def test_a_forced_push_says_so() -> None:
    assert event_of("push", push(OCTO_WEB) | {"forced": True}).forced


def test_a_push_without_commits_is_built_all_the_same() -> None:
    event = event_of("push", push(OCTO_WEB, sha="a" * 40) | {"commits": [], "head_commit": None})
    assert (event.sha, event.message) == ("a" * 40, None)


def test_a_push_of_another_ref_is_ignored() -> None:
    said = read("push", push(OCTO_WEB, ref="refs/notes/commits")).said
    assert said == Ignored("Pushes to `refs/notes/commits` start nothing: it is neither a branch nor a tag.")


@pytest.mark.parametrize(("source", "word"), [("github", "synchronize"), ("gitea", "synchronized")])
def test_new_commits_on_a_pull_request(source: str, word: str) -> None:
    event = event_of("pull_request", pull_request(OCTO_WEB, action=word, number=7, sha="a" * 40), source)
    assert (event.kind, event.action, event.pull_request) == (EventKind.PULL_REQUEST, "synchronize", 7)
    assert (event.branch, event.base_branch, event.sha, event.title) == (
        "topic",
        "main",
        "a" * 40,
        "Add a thing",
    )
    assert event.happened_at == datetime(2026, 11, 20, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("source", "word"),
    [("github", "synchronized"), ("gitea", "synchronize"), ("github", "labeled"), ("gitea", "label_updated")],
)
def test_other_actions_are_ignored_by_name(source: str, word: str) -> None:
    assert read("pull_request", pull_request(OCTO_WEB, action=word), source).said == Ignored(
        f"The pull request action `{word}` starts nothing."
    )


@pytest.mark.parametrize("source", ["github", "gitea"])
@pytest.mark.parametrize(
    ("change", "trusted"),
    [
        ({}, True),
        ({"head": {"ref": "topic", "sha": "a" * 40, "repo": None}}, False),
        ({"head": {"ref": "topic", "sha": "a" * 40}}, False),
        ({"head": {"ref": "topic", "sha": "a" * 40, "repo": FakeRepository("octo/web", 43).json}}, False),
        ({"head": {"ref": "topic", "sha": "a" * 40, "repo": {"id": "42", "full_name": "octo/web"}}}, False),
        ({"base": {"ref": "main", "sha": "a" * 40, "repo": None}}, False),
        ({"head": {"ref": AGIT_REF, "sha": "a" * 40, "repo": OCTO_WEB.json}}, False),
    ],
)
def test_only_a_branch_of_the_repository_itself_is_trusted(
    source: str, change: dict[str, Any], trusted: bool
) -> None:
    body = pull_request(OCTO_WEB)
    body["pull_request"] |= change
    assert event_of("pull_request", body, source).trusted is trusted


def test_a_form_says_the_same_as_json() -> None:
    body = push(OCTO_WEB, message="a+b & 100% über")
    form = urlencode({"payload": orjson.dumps(body).decode()}).encode()
    assert normalise("github", "push", FORM, form) == read("push", body)


@pytest.mark.parametrize(
    "event_type", ["ping", "create", "delete", "issues", "merge_group", "check_run", "nonsense \0"]
)
@pytest.mark.parametrize("source", ["github", "gitea"])
def test_other_events_are_ignored_with_their_repository(source: str, event_type: str) -> None:
    reading = read(event_type, {"repository": OCTO_WEB.json}, source)
    assert isinstance(reading.said, Ignored)
    assert reading.repository is not None
    assert reading.repository.forge_id == 42
    assert "\0" not in reading.said.reason


def test_the_hooks_target_type_is_kept_for_github() -> None:
    headers = JSON | {"x-github-hook-installation-target-type": "organization"}
    assert (
        normalise("github", "push", headers, orjson.dumps(push(OCTO_WEB))).hook_target_type == "organization"
    )
    assert normalise("gitea", "push", headers, orjson.dumps(push(OCTO_WEB))).hook_target_type is None


@pytest.mark.parametrize(
    ("pushed_at", "expected"),
    [
        (1_557_933_657, "2019-05-15T15:20:57+00:00"),
        ("2019-05-15T15:20:57Z", "2019-05-15T15:20:57+00:00"),
        ("2019-05-15T17:20:57+02:00", "2019-05-15T15:20:57+00:00"),
        ("2019-05-15T15:20:57", "2019-05-15T15:20:57+00:00"),
        ("0001-01-01T00:00:00Z", None),
        (0, None),
        (10**18, None),
        (True, None),
        ("yesterday", None),
        (None, None),
    ],
)
def test_the_forges_time_in_either_form(pushed_at: object, expected: str | None) -> None:
    body = push(OCTO_WEB)
    body["repository"]["pushed_at"] = pushed_at
    happened_at = event_of("push", body).happened_at
    assert (happened_at and happened_at.isoformat()) == expected


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "The body is not JSON."),
        (b"\xff", "The body is not JSON."),
        (b"[" * 100_000, "The body is not JSON."),
        (b"[]", "The body is not a JSON object."),
        (b"{}", "The body has no `repository.full_name`."),
        (
            orjson.dumps({"repository": {"full_name": "web", "id": 1}}),
            "`repository.full_name` is not a repository's name.",
        ),
        (
            orjson.dumps({"repository": {"full_name": "octo/web"}}),
            "The body has no number in `repository.id`.",
        ),
        (
            orjson.dumps({"repository": {"full_name": "octo/web", "id": 2**63}}),
            "The body has no number in `repository.id`.",
        ),
        (orjson.dumps({"repository": OCTO_WEB.json}), "The body has no `ref`."),
        (orjson.dumps({"repository": OCTO_WEB.json, "ref": "refs/heads/main"}), "The body has no `after`."),
        (
            orjson.dumps({"repository": OCTO_WEB.json, "ref": "refs/heads/a\nb", "after": "a" * 40}),
            "`ref` is not the name of a git ref.",
        ),
        (
            orjson.dumps({"repository": OCTO_WEB.json, "ref": "refs/heads/main", "after": "--upload-pack=x"}),
            "A commit is not named by its SHA.",
        ),
    ],
)
def test_what_cannot_be_read_is_told_clearly(body: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as caught:
        normalise("github", "push", JSON, body)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        (b"a=b", "The form has no field `payload`, or two of them."),
        (b"payload=%FF", "The body is not JSON."),
        (b"payload=\xff", "The body is not JSON."),
    ],
)
def test_a_form_that_cannot_be_read_is_told_clearly(form: bytes, reason: str) -> None:
    with pytest.raises(Malformed) as caught:
        normalise("github", "push", FORM, form)
    assert str(caught.value) == reason


@pytest.mark.parametrize(
    "name", ["$(touch x)", "-upload-pack=x", "a;b", "x" * 250, "🚢", "\N{RIGHT-TO-LEFT OVERRIDE}nim"]
)
def test_strange_branch_names_are_names(name: str) -> None:
    assert event_of("push", push(OCTO_WEB, ref=f"refs/heads/{name}")).branch == name


WORDS = st.sampled_from(
    [
        "ref",
        "before",
        "after",
        "repository",
        "id",
        "full_name",
        "pushed_at",
        "sender",
        "login",
        "action",
        "number",
        "pull_request",
        "head",
        "base",
        "repo",
        "sha",
        "title",
        "updated_at",
        "merge_commit_sha",
        "head_commit",
        "message",
        "deleted",
        "forced",
    ]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(
        [
            "refs/heads/main",
            "refs/tags/v1",
            "a" * 40,
            ZERO,
            "opened",
            "closed",
            "octo/web",
            "2026-11-20T10:00:00Z",
        ]
    )
)
JSON_VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=8),
    max_leaves=30,
)
EVENT_TYPES = st.sampled_from(["push", "pull_request", "ping", "create"])


def overlaid(body: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return the body with changes at any depth, as a forge might send it after its next release."""

    def inside(name: str, value: object) -> object:
        return (
            overlaid(body[name], value)
            if isinstance(value, dict) and isinstance(body.get(name), dict)
            else value
        )

    return body | {name: inside(name, value) for name, value in changes.items()}


BODIES = JSON_VALUES | st.builds(
    overlaid,
    st.sampled_from([push(OCTO_WEB), pull_request(OCTO_WEB)]),
    st.dictionaries(WORDS, JSON_VALUES, max_size=4),
)


def what_is_said(
    source: str, event_type: str, headers: dict[str, str], body: bytes
) -> Event | Ignored | Malformed:
    try:
        return normalise(source, event_type, headers, body).said
    except Malformed as why:
        return why


@given(st.sampled_from(["github", "gitea"]), EVENT_TYPES, BODIES)
def test_any_json_is_read_or_malformed_and_fits_the_tables(source: str, event_type: str, body: Any) -> None:
    said = what_is_said(source, event_type, JSON, orjson.dumps(body))
    if not isinstance(said, Event):
        reason = said.reason if isinstance(said, Ignored) else str(said)
        assert reason.endswith(".")
        assert "\0" not in reason
        return
    for name in Event.__slots__:
        value = getattr(said, name)
        if isinstance(value, str):
            assert "\0" not in value, name
        elif isinstance(value, int):
            assert value < 2**63, name
    assert said.deleted or said.sha
    assert len((said.ref or said.branch or "").encode()) <= LONGEST_VARIABLE_BYTES


@given(st.sampled_from([JSON, FORM, {}]), EVENT_TYPES, st.binary(max_size=300))
def test_any_bytes_are_read_or_malformed(headers: dict[str, str], event_type: str, body: bytes) -> None:
    assert what_is_said("github", event_type, headers, body)


def test_f45_a_merge_queue_runs_its_push_and_its_merge_group_is_ignored() -> None:
    sha, ref = "c" * 40, "refs/heads/gh-readonly-queue/main/pr-7"
    repository = {"id": 7, "full_name": "octo/web"}
    merge_group = {"action": "checks_requested", "merge_group": {"head_sha": sha}, "repository": repository}
    pushed = {"ref": ref, "before": "0" * 40, "after": sha, "created": True, "repository": repository}
    headers = {"content-type": "application/json"}
    ignored = normalise("github", "merge_group", headers, orjson.dumps(merge_group)).said
    assert ignored == Ignored("`merge_group` events start nothing.")
    event = normalise("github", "push", headers, orjson.dumps(pushed)).said
    assert isinstance(event, Event)
    assert (event.kind, event.sha, event.branch) == ("push", sha, "gh-readonly-queue/main/pr-7")
