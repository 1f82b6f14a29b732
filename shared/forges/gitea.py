"""Gitea's deliveries, in fields that are similar to GitHub's.

A push has no `created`, `deleted`, `forced` or time, and the action of an updated pull request is
`synchronized`. A new branch or tag is sent as `create` and as `push`; only the push counts.
"""

from collections.abc import Mapping

from shared.forges.changes import read_pull_request, read_push
from shared.forges.reading import Reading, ignored, read_body, read_repository
from shared.quoting import shown

_FORGE = "gitea"
_ACTIONS = {"opened": "opened", "synchronized": "synchronize", "reopened": "reopened", "closed": "closed"}


def normalise(event_type: str, headers: Mapping[str, str], body: bytes) -> Reading:
    """Reads a Gitea delivery; see `shared.forges.normalise`."""
    if event_type not in {"push", "pull_request"}:
        return ignored(_why(event_type), _FORGE, headers, body)
    payload = read_body(headers, body)
    repository = read_repository(_FORGE, payload)
    if event_type == "push":
        return Reading(read_push(payload, repository, happened_at=None), repository)
    return Reading(read_pull_request(payload, repository, _ACTIONS), repository)


def _why(event_type: str) -> str:
    if event_type == "create":
        return "`create` events start nothing: the push that comes with them counts."
    return f"{shown(event_type)} events start nothing."
