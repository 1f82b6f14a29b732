"""Compiles conditions and templates of steps to POSIX `sh`, for dash, bash and busybox ash.

The step driver defines FUNCTIONS once. The compiled code then starts no process, and reads only variables:
those that `StepNames` names for outputs, results and environment variables, and `towpath_failed` and
`towpath_stopped` (yes or no) for the status functions. An unset variable is null. Text of users enters the
code only in single quotes. Values are expanded in double quotes, as `case` subjects and in assignments; only
`towpath_fold` splits one, without file name expansion.

The code agrees with the evaluator. Its values are a type (empty for null, bool, num, text) and a value. A
number is its canonical text, a space, and its source text.

Only what is known while steps run is compiled: all else has been replaced by constants (`reduce`). The
language is a closed set here: `== != && || !`, contains, startsWith, endsWith, the status functions, and
names of the forms `steps.<id>.outputs.<name>`, `steps.<id>.outcome`, `steps.<id>.conclusion`, `env.<NAME>`.
"""

import re
import shlex
from typing import Protocol

from shared.expressions.errors import ExpressionError
from shared.expressions.functions import STATUS_FUNCTIONS
from shared.expressions.nodes import (
    Call,
    Comparison,
    Expression,
    Literal,
    Logical,
    Node,
    Not,
    Reference,
    Template,
    constant_key,
    depends_on,
    nodes_of,
    to_text,
)
from shared.expressions.reduction import reduce
from shared.expressions.shell_functions import FUNCTIONS
from shared.expressions.values import Value, canonical, scalar_text, to_number

__all__ = ["FUNCTIONS", "STEP_NAMES", "StepNames", "condition", "require", "text"]

STEP_NAMES = frozenset({"steps", "env"}) | STATUS_FUNCTIONS
"""The contexts and functions that only the step driver knows: what `reduce` has to keep."""

MATCHES = {"contains": "towpath_contains", "startsWith": "towpath_starts", "endsWith": "towpath_ends"}

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FORMS = "steps.<id>.outputs.<name>, steps.<id>.outcome, steps.<id>.conclusion or env.<NAME>"
_REWRITE = "Compute it in a step's script, and compare its output."


class StepNames(Protocol):
    """Names the shell variables of the step driver. All are letters, digits and `_`."""

    def output(self, step: str, name: str) -> str:
        """Return the variable with an output of a step. It is unset if the step has not set it."""

    def outcome(self, step: str) -> str:
        """Return the variable with the step's own result. It is unset before the step has ended."""

    def conclusion(self, step: str) -> str:
        """Return the variable with the step's result after `allow_failure`."""

    def environment(self, name: str) -> str:
        """Return the variable with the value of an environment variable of the steps."""


def require(of: Node | Template) -> None:
    """Raise ExpressionError if the step driver can't evaluate this after the known values are filled in."""
    for node in nodes_of(of):
        if not depends_on(node, STEP_NAMES):
            continue
        match node:
            case Comparison() if node.operator not in {"==", "!="}:
                message = f'"{node.operator}" can\'t compare what is known only while steps run'
                raise _refused(node, message, _REWRITE)
            case Call() if node.function not in MATCHES and node.function not in STATUS_FUNCTIONS:
                raise _refused(node, f"{node.function}() can't be used while steps run", _instead(node))
            case Reference():
                _require_form(node)


def condition(node: Node, names: StepNames) -> str:
    """Return a `sh` compound command that succeeds if the condition is true.

    Raises ExpressionError if it is not in the closed set, or uses a context that is not filled in.
    """
    return "{\n" + "\n".join([*_compiled(_prepared(node), names, 0), "towpath_truthy"]) + "\n}"


def text(template: Template, names: StepNames, variable: str) -> str:
    """Return `sh` commands that set the variable to the template's text. Raises ExpressionError."""
    lines = ["towpath_made="]
    for part in template.parts:
        if isinstance(part, Expression):
            lines += _compiled(_prepared(part.node), names, 0)
            lines.append('towpath_to_text "$towpath_type" "$towpath_value"')
            lines.append("towpath_made=$towpath_made$towpath_text")
        else:
            lines.append(f"towpath_made=${{towpath_made}}{_quoted(part)}")
    return "\n".join([*lines, f"{_checked(variable)}=$towpath_made"])


def _prepared(node: Node) -> Node:
    """Check the expression, and replace its constant parts by their values."""
    require(node)
    for part in nodes_of(node):
        if isinstance(part, Reference) and part.context not in STEP_NAMES:
            raise _refused(part, f"`{part.context}` is not known while steps run", None)
    return reduce(node, {}, STEP_NAMES)


def _compiled(node: Node, names: StepNames, depth: int) -> list[str]:
    """Return commands that set towpath_type and towpath_value. The depth names variables of this node."""
    match node:
        case Literal() | Reference():
            return [_constant(node.value) if isinstance(node, Literal) else _read(node, names)]
        case Not():
            return [*_compiled(node.operand, names, depth + 1), "towpath_not"]
        case Call() if node.function in STATUS_FUNCTIONS:
            return [f"towpath_{node.function}"]
        case Call():
            first, second = node.arguments
            return _binary(MATCHES[node.function], (first, second), names, depth)
        case Comparison():
            lines = _binary("towpath_equal", (node.left, node.right), names, depth)
            return [*lines, "towpath_not"] if node.operator == "!=" else lines
        case Logical():
            return _logical(node, names, depth)


def _binary(function: str, operands: tuple[Node, Node], names: StepNames, depth: int) -> list[str]:
    """Call the function with the left operand as arguments, while the right one is the current value."""
    left, right = operands
    return [
        *_compiled(left, names, depth + 1),
        f"towpath_type{depth}=$towpath_type towpath_value{depth}=$towpath_value",
        *_compiled(right, names, depth + 1),
        f'{function} "$towpath_type{depth}" "$towpath_value{depth}"',
    ]


def _logical(node: Logical, names: StepNames, depth: int) -> list[str]:
    """Compile the operands one after the other: each replaces a value that did not decide."""
    lines = _compiled(node.operands[0], names, depth + 1)
    for operand in node.operands[1:]:
        lines += [f"towpath_truthy {node.operator} {{", *_compiled(operand, names, depth + 1), "}"]
    return lines


def _constant(value: Value) -> str:
    if value is None:
        return "towpath_type= towpath_value="
    if isinstance(value, bool):
        return f"towpath_type=bool towpath_value={'true' if value else 'false'}"
    shown = scalar_text(value) or ""
    if isinstance(value, str):
        return f"towpath_type=text towpath_value={_quoted(shown)}"
    return f"towpath_type=num towpath_value='{canonical(to_number(value))} {shown}'"


def _read(node: Reference, names: StepNames) -> str:
    match [constant_key(key) for key in node.path]:
        case [str(step), "outputs", str(name)]:
            variable = names.output(step, name)
        case [str(step), "outcome"]:
            variable = names.outcome(step)
        case [str(step), "conclusion"]:
            variable = names.conclusion(step)
        case [str(name)] if node.context == "env":
            if not _VARIABLE.fullmatch(name):
                return _constant(None)
            variable = names.environment(name)
        case _:
            raise _form_error(node)
    return f"towpath_type=${{{_checked(variable)}+text}} towpath_value=${{{variable}-}}"


def _require_form(node: Reference) -> None:
    """Accept computed keys where the whole key is known before steps run."""
    if any(depends_on(key, STEP_NAMES) for key in node.path):
        raise _refused(node, "a key can't be computed while steps run", "Name the key.")
    keys = [constant_key(key) for key in node.path]
    if node.context == "env":
        fits = len(keys) == 1
    elif len(keys) == 2:
        fits = keys[1] in {"outcome", "conclusion", None}
    else:
        fits = len(keys) == 3 and keys[1] in {"outputs", None}
    if not fits:
        raise _form_error(node)


def _form_error(node: Reference) -> ExpressionError:
    written = to_text(node)
    shown = written if len(written) <= 60 else node.context
    return _refused(node, f"`{shown}` is not a value of a step", f"Write {_FORMS}.")


def _instead(node: Call) -> str:
    if node.function == "format":
        return "Put the values into the text: ${{ … }}-${{ … }}, in env."
    return _REWRITE


def _refused(node: Node, message: str, hint: str | None) -> ExpressionError:
    return ExpressionError(message, node.offset, node.length, hint, code="not_in_steps")


def _checked(variable: str) -> str:
    if not _VARIABLE.fullmatch(variable):
        raise ValueError("not the name of a shell variable")
    return variable


def _quoted(value: str) -> str:
    if "\0" in value:
        raise ExpressionError("a text can't contain NUL while steps run")
    return shlex.quote(value)
