"""Checks an expression against the key that it stands in: the phase, the contexts, their names, functions.

A key is evaluated in one phase. An expression may only use what is known by then. Problems are found when
the pipeline is saved, and each says what to write instead.
"""

from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, TypeAlias

from shared.expressions.errors import ExpressionError, nearest
from shared.expressions.evaluator import format_pieces
from shared.expressions.functions import ARGUMENTS, BUILTINS, STATUS_FUNCTIONS
from shared.expressions.nodes import Call, Name, Node, Template, calls, constant_key, key_text, names

Known: TypeAlias = "Mapping[str, Known] | None"
"""The known names below a name, or None if there can be any."""


class Phase(StrEnum):
    """The moment when a key is evaluated, in the order of time."""

    SAVE = "save"
    EVENT = "event"
    READY = "ready"
    CLAIM = "claim"
    STEP = "step"


ORDER = tuple(Phase)

FIRST_PHASE: dict[str, Phase] = {
    "event": Phase.EVENT,
    "inputs": Phase.EVENT,
    "matrix": Phase.EVENT,
    "env": Phase.EVENT,
    "run": Phase.EVENT,
    "job": Phase.EVENT,
    "needs": Phase.READY,
    "secrets": Phase.CLAIM,
    "steps": Phase.STEP,
}
"""Each context with the first phase in which it is known."""

_MOMENTS = {
    Phase.SAVE: "when the pipeline is saved",
    Phase.EVENT: "when the event arrives",
    Phase.READY: "when the needed jobs have ended",
    Phase.CLAIM: "when the job starts",
    Phase.STEP: "while the job's steps run",
}
_ALTERNATIVES = {
    "needs": "Use it in if, env, image or another key of a job that lists the other job in needs.",
    "secrets": "Use it in env of a job that lists the name in `secrets`, or of its steps or services.",
    "steps": "Use it in a step's if or env, or in the job's outputs.",
}
_EMPTY = {
    "matrix": "The job has no matrix.",
    "needs": "Known are the jobs that this job lists in `needs`.",
    "steps": "Known are earlier steps of the job that have an `id`.",
    "env": "Known are variables that are set above this level.",
    "inputs": "Inputs are defined in `on.manual.inputs`.",
}
"""Hints about contexts that have no names here."""
_OF_CACHE = "It belongs to `cache`, which is not supported yet."
_OF_GITHUB = {
    "github": "event",
    "github.event_name": "event.type",
    "github.ref_name": "event.branch",
    "github.ref": "event.ref",
    "github.sha": "event.sha",
    "github.actor": "event.sender",
    "github.repository": "event.repository",
    "github.head_ref": "event.head_branch",
    "github.base_ref": "event.base_branch",
    "runner": "",
    "vars": "env",
    "strategy": "matrix",
    "secret": "secrets",
}
"""Contexts of GitHub with ours. An empty one has no counterpart."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of a key. `key` is its name for messages, such as `concurrency.group`.

    `contexts` are those that the key may use; None allows all that its phase knows. `known` has the names
    below a context; a context that is not in it may have any. `functions` are those that are allowed.
    """

    phase: Phase
    key: str = "this key"
    contexts: AbstractSet[str] | None = None
    known: Mapping[str, Known] = field(default_factory=dict)
    functions: AbstractSet[str] = BUILTINS


class ExpressionProblem(NamedTuple):
    """A problem with the characters that it is about, as offsets of the parsed text."""

    offset: int
    length: int
    code: str
    message: str
    hint: str | None


def problems(of: Node | Template, rules: Rules) -> list[ExpressionProblem]:
    """Return all problems in the order of the text. An expression without problems can be evaluated."""
    found = [problem for name in names(of) for problem in _of_name(name, rules)]
    found += [problem for call in calls(of) for problem in _of_call(call, rules)]
    return sorted(found)


def check(of: Node | Template, rules: Rules) -> None:
    """Raise ExpressionError for the first problem."""
    for problem in problems(of, rules):
        offset, length, code, message, hint = problem
        raise ExpressionError(message, offset, length, hint, code=code)


def contexts_of(phase: Phase) -> list[str]:
    """Return the contexts that are known in a phase."""
    return [context for context, first in FIRST_PHASE.items() if ORDER.index(first) <= ORDER.index(phase)]


def _of_name(name: Name, rules: Rules) -> Iterator[ExpressionProblem]:
    context = name.context
    usable = [one for one in contexts_of(rules.phase) if rules.contexts is None or one in rules.contexts]
    if context in usable:
        yield from _of_path(name, rules.known.get(context))
        return
    if context not in FIRST_PHASE:
        yield _unknown_context(name, usable)
        return
    first = FIRST_PHASE[context]
    if ORDER.index(first) > ORDER.index(rules.phase):
        message = (
            f"`{context}` is known only {_MOMENTS[first]}; `{rules.key}` is evaluated {_MOMENTS[rules.phase]}"
        )
        yield _problem(name, "wrong_phase", message, _ALTERNATIVES.get(context))
        return
    hint = _ALTERNATIVES["secrets"] if context == "secrets" else _allowed(usable)
    yield _problem(name, "wrong_context", f"`{context}` can't be used in `{rules.key}`", hint)


def _allowed(usable: list[str]) -> str:
    return f"Allowed here: {', '.join(usable)}." if usable else "Only constants are allowed here."


def _unknown_context(name: Name, usable: list[str]) -> ExpressionProblem:
    written = name.context + "".join(f".{key}" for key in name.path[:1])
    if name.context in ARGUMENTS:
        message, hint = f"`{name.context}` is a function", f"Write {name.context}()."
        return _problem(name, "unknown_name", message, hint)
    meant = _OF_GITHUB.get(written, _OF_GITHUB.get(name.context))
    meant = meant if meant is not None else nearest(name.context, usable)
    if not name.path and written not in _OF_GITHUB:
        hint = f"A text has single quotes: '{name.context}'. {_allowed(usable)}"
    else:
        hint = f"Did you mean `{meant}`?" if meant else _allowed(usable)
    return _problem(name, "unknown_name", f"there is no context `{name.context}`", hint)


def _of_path(name: Name, known: Known) -> Iterator[ExpressionProblem]:
    """Compare the keys with the known names, up to the first that is computed or unknown."""
    reached = name.context
    for key in name.path:
        if known is None or key is None:
            return
        if key not in known:
            yield _unknown_key(name, reached, key, list(known))
            return
        known = known[key]
        reached += key_text(key)


def _unknown_key(name: Name, reached: str, key: str, known: list[str]) -> ExpressionProblem:
    message = f"`{reached}` has no `{key}`"
    if reached == "secrets":
        return _problem(name, "unknown_name", message, f"List it in the job: secrets: [{key}].")
    if meant := nearest(key, known):
        return _problem(name, "unknown_name", message, f"Did you mean `{reached}{key_text(meant)}`?")
    shown = ", ".join(known[:12]) + (", …" if len(known) > 12 else "")
    if not known:
        hint = "It has no names here."
        if reached.startswith("needs.") and reached.endswith(".outputs"):
            hint = "That job declares no outputs. Write outputs: { name: text } in it."
        return _problem(name, "unknown_name", message, _EMPTY.get(reached, hint))
    return _problem(name, "unknown_name", message, f"It has: {shown}.")


def _of_call(call: Call, rules: Rules) -> Iterator[ExpressionProblem]:
    if call.function in rules.functions:
        if call.function == "format" and (pattern := constant_key(call.arguments[0])) is not None:
            yield from _of_pattern(pattern, call)
        return
    if call.function not in ARGUMENTS:
        yield _unknown_function(call, rules)
    elif call.function in STATUS_FUNCTIONS:
        hint = "A job's if can use success(), failure() and always(); a step's if also cancelled()."
        yield _problem(call, "wrong_function", f"{call.function}() can't be used in `{rules.key}`", hint)
    elif call.function == "hash":
        yield _problem(call, "wrong_function", f"hash() can't be used in `{rules.key}`", _OF_CACHE)
    else:
        allowed = ", ".join(sorted(rules.functions)) or "none"
        message = f"{call.function}() can't be used in `{rules.key}`"
        yield _problem(call, "wrong_function", message, f"Allowed here: {allowed}.")


def _of_pattern(pattern: str, call: Call) -> Iterator[ExpressionProblem]:
    try:
        format_pieces(pattern, len(call.arguments) - 1, call)
    except ExpressionError as error:
        yield ExpressionProblem(error.offset, error.length, error.code, error.message, error.hint)


def _unknown_function(call: Call, rules: Rules) -> ExpressionProblem:
    meant = nearest(call.function, ARGUMENTS)
    message = f"there is no function `{call.function}`"
    if call.function.lower() == "fromjson":
        hint = "Values keep their types without it, and texts are compared with numbers as numbers."
    elif call.function.lower() == "hashfiles":
        hint = _OF_CACHE
    elif meant:
        hint = f"Did you mean {meant}()?"
    else:
        hint = f"Allowed here: {', '.join(sorted(rules.functions)) or 'none'}."
    return _problem(call, "unknown_function", message, hint)


def _problem(of: Name | Call, code: str, message: str, hint: str | None) -> ExpressionProblem:
    return ExpressionProblem(of.offset, of.length, code, message, hint)
