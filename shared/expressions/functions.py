"""The functions of expressions: their names and numbers of arguments."""

STATUS_FUNCTIONS = frozenset({"success", "failure", "always", "cancelled"})
"""Their values come from the caller of the evaluator."""

ARGUMENTS: dict[str, tuple[int, int]] = {
    "contains": (2, 2),
    "startsWith": (2, 2),
    "endsWith": (2, 2),
    "format": (1, 64),
    "join": (1, 2),
    "toJSON": (1, 1),
    **dict.fromkeys(sorted(STATUS_FUNCTIONS), (0, 0)),
    "hash": (1, 64),
}
"""The least and the most arguments of each function. `hash` has its value from the caller too."""

BUILTINS = frozenset({"contains", "startsWith", "endsWith", "format", "join", "toJSON"})
"""The functions that depend only on their arguments."""

CANONICAL = {name.lower(): name for name in ARGUMENTS}


def argument_count(name: str) -> str:
    """Return the number of arguments for a message, such as `2 arguments`."""
    least, most = ARGUMENTS[name]
    if most == 0:
        return "no arguments"
    if least == most:
        return f"{least} argument{'s' * (least != 1)}"
    return f"{least} or {most} arguments" if most == least + 1 else f"{least} or more arguments"
