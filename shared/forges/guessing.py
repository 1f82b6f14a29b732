"""Guesses from a payload alone which forge sent it and which event it is.

A delivery names both in its headers. A payload that is saved in a file has no headers. Only certain answers
are given: fields that no other event and no other forge has.
"""

from collections.abc import Mapping
from typing import Any

_OF_OTHER_EVENTS = frozenset({"review", "comment", "thread", "issue", "workflow_run"})
"""Fields of events that are about a pull request, but do not change it."""
_OF_GITHUB = frozenset({"node_id", "pushed_at", "svn_url", "allow_forking"})
"""Fields of a repository that only GitHub sends."""
_OF_GITEA = frozenset({"original_url", "empty", "internal", "has_pull_requests"})
"""Fields of a repository that only Gitea sends."""


def event_type_of(payload: Mapping[str, Any]) -> str | None:
    """Return `push` or `pull_request`, or None if the payload may be of another event."""
    if isinstance(payload.get("ref"), str) and {"before", "after"} <= payload.keys():
        return "push"
    if (
        isinstance(payload.get("pull_request"), dict)
        and isinstance(payload.get("action"), str)
        and "number" in payload
        and not payload.keys() & _OF_OTHER_EVENTS
    ):
        return "pull_request"
    return None


def forge_of(payload: Mapping[str, Any]) -> str | None:
    """Return `github` or `gitea`, or None if the payload's repository has fields of neither or of both."""
    repository = payload.get("repository")
    fields = repository.keys() if isinstance(repository, dict) else frozenset()
    found = [
        forge for forge, own in (("github", _OF_GITHUB), ("gitea", _OF_GITEA)) if not fields.isdisjoint(own)
    ]
    return found[0] if len(found) == 1 else None
