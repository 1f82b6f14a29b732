"""Pushes and pull requests, read from the fields that GitHub and Gitea share.

Differences between the forges are passed as arguments.
"""

import re
from collections.abc import Mapping
from datetime import datetime

from shared.events import LONGEST_VARIABLE_BYTES, Event, EventKind, Ignored
from shared.forges.changed_files import ChangedFiles, read_changed_files
from shared.forges.reading import Fields, ForgeRepository, Malformed
from shared.quoting import shown

_SHA = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})", re.ASCII)


def read_push(payload: Fields, repository: ForgeRepository, happened_at: datetime | None) -> Event | Ignored:
    """Reads a push of one branch or tag.

    A push is trusted, because its author may write to the repository. Raises Malformed.
    """
    ref = _git_name(payload, "ref")
    after = payload.required_text("after")
    _, kind, name = ref.split("/", 2) if ref.startswith(("refs/heads/", "refs/tags/")) else ("", "", "")
    if not name:
        return Ignored(f"Pushes to {shown(ref)} start nothing: it is neither a branch nor a tag.")
    deleted = set(after) == {"0"} or payload.is_true("deleted")
    head_commit = payload.fields("head_commit")
    has_files = kind == "heads" and not deleted
    changed = read_changed_files(payload) if has_files else ChangedFiles(None, None)
    return Event(
        kind=EventKind.PUSH if kind == "heads" else EventKind.TAG,
        repository=repository.full_name,
        trusted=True,
        ref=ref,
        branch=name if kind == "heads" else None,
        tag=name if kind == "tags" else None,
        sha=None if deleted else _pushed_commit(_sha(after), kind, head_commit),
        before_sha=_known_sha(payload.text("before")),
        message=head_commit.text("message"),
        sender_login=payload.fields("sender").text("login"),
        sender_id=payload.fields("sender").number("id"),
        deleted=deleted,
        forced=payload.is_true("forced"),
        happened_at=happened_at,
        changed_files=changed.files,
        files_unknown=changed.unknown,
    )


def read_pull_request(
    payload: Fields, repository: ForgeRepository, actions: Mapping[str, str]
) -> Event | Ignored:
    """Reads a change of a pull request. `actions` maps the forge's action names that count to ours.

    Raises Malformed.
    """
    action = payload.required_text("action")
    if action not in actions:
        return Ignored(f"The pull request action {shown(action)} starts nothing.")
    pull_request = payload.fields("pull_request")
    head = pull_request.fields("head")
    return Event(
        kind=EventKind.PULL_REQUEST,
        action=actions[action],
        repository=repository.full_name,
        trusted=_is_trusted(head, pull_request.fields("base"), repository),
        branch=_git_name(head, "ref"),
        base_branch=_git_name(pull_request.fields("base"), "ref"),
        sha=_sha(head.required_text("sha")),
        before_sha=_known_sha(payload.text("before")),
        pull_request=payload.number("number") or pull_request.required_number("number"),
        merge_sha=_known_sha(pull_request.text("merge_commit_sha")),
        title=pull_request.text("title"),
        sender_login=payload.fields("sender").text("login"),
        sender_id=payload.fields("sender").number("id"),
        happened_at=pull_request.instant("updated_at"),
    )


def _pushed_commit(after: str, kind: str, head_commit: Fields) -> str:
    """Returns the SHA of the commit that was pushed.

    For an annotated tag, `after` is the SHA of the tag object and `head_commit` is the commit. If the forge
    names no commit, the SHA of the tag object is returned; git checks out its commit.
    """
    commit = _known_sha(head_commit.text("id")) if kind == "tags" else None
    return commit if commit is not None and len(commit) == len(after) else after


def _is_trusted(head: Fields, base: Fields, repository: ForgeRepository) -> bool:
    """Returns True if the head is a branch of the base repository itself, by numeric ids.

    A head whose repository was deleted is not trusted. On Gitea, anybody who can read the repository may push
    to refs/for/…. Such a head has the id of the base repository and the ref refs/pull/<n>/head. This is no
    branch, so it is not trusted.
    """
    head_id, base_id = head.fields("repo").number("id"), base.fields("repo").number("id")
    return head_id == base_id == repository.forge_id and not (head.text("ref") or "").startswith("refs/")


def _git_name(fields: Fields, name: str) -> str:
    """Returns the name of a ref or branch.

    Raises Malformed if it has control or replacement characters, or is too long to reach user code whole.
    """
    value = fields.required_text(name)
    if len(value.encode()) > LONGEST_VARIABLE_BYTES or any(
        ord(character) < 32 or character in "\x7f\N{REPLACEMENT CHARACTER}" for character in value
    ):
        raise Malformed(f"`{name}` is not the name of a git ref.")
    return value


def _sha(value: str) -> str:
    if not _SHA.fullmatch(value):
        raise Malformed("A commit is not named by its SHA.")
    return value


def _known_sha(value: str | None) -> str | None:
    """Returns the SHA, or None if it is missing, invalid or zero.

    The zero SHA means that the ref did not exist before.
    """
    return value if value and _SHA.fullmatch(value) and set(value) != {"0"} else None
