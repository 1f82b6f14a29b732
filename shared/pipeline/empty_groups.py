"""Finds expressions in a group's name that are empty for a kind of event that starts the pipeline. Pure.

All runs of such a kind share one group. This is rarely intended: two releases would supersede each other.
"""

from collections.abc import Mapping

from shared.expressions import Expression, ExpressionError, Template, Value, parse_template, render
from shared.pipeline.model import Concurrency, Triggers

_EVERY = frozenset({"type", "repository", "sha", "sender", "ref", "trusted", "forced"})

FIELDS: Mapping[str, frozenset[str]] = {
    "branch": _EVERY | {"branch"},
    "tag": _EVERY | {"tag"},
    "pull_request": _EVERY | {"action", "head_branch", "base_branch", "pull_request", "title"},
}
"""The fields of each kind of event that are never empty."""


def find(concurrency: Concurrency | None, triggers: Triggers) -> list[tuple[str, str]]:
    """Return the expressions that are empty, each with the kind of event.

    Expressions are as written. The kind is a key of FIELDS.
    """
    if concurrency is None:
        return []
    inputs = {} if triggers.manual is None else triggers.manual.inputs
    values = {name: "x" for name, one in inputs.items() if one.default is not None and one.default.text}
    return [
        (text, kind) for kind in _kinds(triggers) for text in _empty(concurrency.group, FIELDS[kind], values)
    ]


def _empty(group: str, fields: frozenset[str], inputs: Mapping[str, str]) -> list[str]:
    """Return the expressions of the group's name, as written, that are empty if only these fields are not."""
    contexts = {"event": dict.fromkeys(fields, "x"), "inputs": dict(inputs)}
    return [
        group[part.offset : part.offset + part.length]
        for part in parse_template(group).expressions
        if _is_empty(part, contexts)
    ]


def _is_empty(part: Expression, contexts: Mapping[str, Value]) -> bool:
    """Return True if the expression has the empty text. One that can fail is not always empty."""
    try:
        return not render(Template((part,)), contexts)
    except ExpressionError:
        return False


def _kinds(triggers: Triggers) -> list[str]:
    push = triggers.push
    kinds = {
        "branch": push is not None and (push.branches is not None or push.tags is None),
        "tag": push is not None and (push.tags is not None or push.branches is None),
        "pull_request": triggers.pull_request is not None,
    }
    return [kind for kind, is_wanted in kinds.items() if is_wanted]
