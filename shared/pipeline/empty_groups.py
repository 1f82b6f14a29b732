"""Finds expressions in a group's name that are empty for a kind of event that starts the pipeline. Pure.

All runs of such a kind share one group. This is rarely intended: two releases would supersede each other.
"""

from collections.abc import Mapping

from shared.pipeline.model import Concurrency, Triggers
from shared.pipeline.templates import always_empty

_EVERY = frozenset({"type", "repository", "sha", "sender"})

FIELDS: Mapping[str, frozenset[str]] = {
    "branch": _EVERY | {"ref", "branch"},
    "tag": _EVERY | {"ref", "tag"},
    "pull_request": _EVERY | {"action", "branch", "base_branch", "pull_request"},
}
"""The fields of each kind of event that are never empty."""


def find(concurrency: Concurrency | None, triggers: Triggers) -> list[tuple[str, str]]:
    """Return the expressions that are empty, each with the kind of event.

    Expressions are as written. The kind is a key of FIELDS.
    """
    if concurrency is None:
        return []
    kinds = _kinds(triggers)
    return [(text, kind) for kind in kinds for text in always_empty(concurrency.group, FIELDS[kind])]


def _kinds(triggers: Triggers) -> list[str]:
    push = triggers.push
    kinds = {
        "branch": push is not None and (push.branches is not None or push.tags is None),
        "tag": push is not None and (push.tags is not None or push.branches is None),
        "pull_request": triggers.pull_request is not None,
    }
    return [kind for kind, is_wanted in kinds.items() if is_wanted]
