"""Creates warnings about valid pipelines that probably do not do what their author intends.

There are two kinds: repositories for which no run will ever start (they may be registered later), and
expressions in the name of a concurrency group that are empty for some kinds of events.
"""

from collections.abc import Mapping, Sequence, Set
from itertools import islice

from services.gateway.http.problems import Fault
from shared.pipeline import empty_groups
from shared.pipeline.errors import nearest, quotable
from shared.pipeline.globs import is_glob, repository_matches
from shared.pipeline.model import Concurrency, Triggers

_EVENTS = {"branch": "pushed branches", "tag": "pushed tags", "pull_request": "pull requests"}
_GROUP_HINT = "Write ${{ event.pull_request || event.ref }}, or end the expression with a word: || 'none'"
HINT_LIMIT = 3
"""Maximum number of warnings with a hint.

Each hint compares a name with up to `COMPARED_LIMIT` others, which takes milliseconds.
"""
COMPARED_LIMIT = 200
"""Globs of an owner with more repositories than this are not compared and get no warning."""


def group_warnings(concurrency: Concurrency | None, triggers: Triggers) -> list[Fault]:
    """Return one warning for each pair of an expression in the group's name and a kind of event.

    A pair gets a warning if the expression is empty for events of that kind.
    """
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
    """Return a warning for each name or glob that matches none of the repositories that the owner may use."""
    names = {full_name.lower() for full_name in usable}
    by_owner: dict[str, list[str]] = {}
    for name in names:
        by_owner.setdefault(name.partition("/")[0], []).append(name)
    unmatched = [
        index for index, name in enumerate(named) if not _may_stand_for(name.lower(), names, by_owner)
    ]
    return [
        Fault(
            path="repository" if len(named) == 1 else f"repository[{index}]",
            code="no_such_repository",
            message=_message(named[index]),
            hint=_hint(named[index], usable) if place < HINT_LIMIT else None,
        )
        for place, index in enumerate(unmatched)
    ]


def _may_stand_for(name: str, names: Set[str], by_owner: Mapping[str, Sequence[str]]) -> bool:
    if not is_glob(name):
        return name in names
    of_owner = by_owner.get(name.partition("/")[0], ())
    return len(of_owner) > COMPARED_LIMIT or any(
        repository_matches([name], full_name) for full_name in of_owner
    )


def _message(name: str) -> str:
    return (
        f"nothing will run for {name}: no repository of this name is registered of which the pipeline's "
        "owner is maintainer"
    )


def _hint(name: str, usable: Sequence[str]) -> str | None:
    """Return a hint with the most similar repository, or None.

    Repositories of the same owner are compared without the owner, because the common part would make them all
    look similar.
    """
    owner, _, own = name.lower().partition("/")
    of_owner = {
        full_name.lower().partition("/")[2]: full_name
        for full_name in usable
        if full_name.lower().startswith(f"{owner}/")
    }
    if of_owner:
        meant = of_owner.get(nearest(own, islice(of_owner, COMPARED_LIMIT)) or "")
    else:
        by_folded = {full_name.lower(): full_name for full_name in usable}
        meant = by_folded.get(nearest(name.lower(), islice(by_folded, COMPARED_LIMIT)) or "")
    return f"Did you mean {meant}?" if meant else None
