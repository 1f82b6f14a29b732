"""GitHub's deliveries: https://docs.github.com/en/webhooks/webhook-events-and-payloads."""

from collections.abc import Mapping

from shared.forges.changes import read_pull_request, read_push
from shared.forges.reading import Reading, ignored, read_body, read_repository
from shared.quoting import shown

_FORGE = "github"
_ACTIONS = {"opened": "opened", "synchronize": "synchronize", "reopened": "reopened", "closed": "closed"}


def normalise(event_type: str, headers: Mapping[str, str], body: bytes) -> Reading:
    """Reads a GitHub delivery; see `shared.forges.normalise`."""
    if event_type not in {"push", "pull_request"}:
        reason = (
            "A ping: the webhook works."
            if event_type == "ping"
            else f"{shown(event_type)} events start nothing."
        )
        return ignored(reason, _FORGE, headers, body)
    payload = read_body(headers, body)
    repository = read_repository(_FORGE, payload)
    if event_type == "push":
        said = read_push(payload, repository, payload.fields("repository").instant("pushed_at"))
    else:
        said = read_pull_request(payload, repository, _ACTIONS)
    return Reading(said, repository, headers.get("x-github-hook-installation-target-type"))
