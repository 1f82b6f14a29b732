"""Warnings about pipelines that are valid and probably do not mean what they say.

Two kinds: repositories for which nothing will ever run (they may be registered later), and expressions in the
name of a concurrency group that are empty for some of the events.
"""

from collections.abc import Sequence

from services.gateway.problems import Fault
from shared.pipeline import empty_groups
from shared.pipeline.errors import nearest, quotable
from shared.pipeline.globs import repository_matches
from shared.pipeline.model import Concurrency, Triggers

_EVENTS = {"branch": "pushed branches", "tag": "pushed tags", "pull_request": "pull requests"}
_GROUP_HINT = "Write ${{ event.pull_request || event.ref }}, or end the expression with a word: || 'none'"


def group_warnings(concurrency: Concurrency | None, triggers: Triggers) -> list[Fault]:
    """One for each expression of the group's name and each kind of event for which it is empty."""
    return [
        Fault(
            path="concurrency.group",
            code="empty_expression",
            message=f"{quotable(text, 80)} is empty for {_EVENTS[kind]}: their runs get one group together",
            hint=_GROUP_HINT,
        )
        for text, kind in empty_groups.find(concurrency, triggers)
    ]


def warnings_of(named: Sequence[str], usable: Sequence[str]) -> list[Fault]:
    """One for each name or glob that stands for none of the repositories that the owner may use."""
    return [
        Fault(path="repository" if len(named) == 1 else f"repository[{index}]", code="no_such_repository", message=_message(name), hint=_hint(name, usable))
        for index, name in enumerate(named)
        if not any(repository_matches([name], full_name) for full_name in usable)
    ]


def _message(name: str) -> str:
    return f"nothing will run for {name}: no repository of this name is registered of which the pipeline's owner is maintainer"


def _hint(name: str, usable: Sequence[str]) -> str | None:
    """Of one owner's repositories the names alone are compared: with the owner before them all look alike."""
    owner, _, own = name.lower().partition("/")
    of_owner = {full_name.lower().partition("/")[2]: full_name for full_name in usable if full_name.lower().startswith(f"{owner}/")}
    if of_owner:
        meant = of_owner.get(nearest(own, of_owner) or "")
    else:
        by_folded = {full_name.lower(): full_name for full_name in usable}
        meant = by_folded.get(nearest(name.lower(), by_folded) or "")
    return f"Did you mean {meant}?" if meant else None
