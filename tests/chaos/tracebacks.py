"""Shortens a traceback: for each exception its innermost frame in this tree and its message.

An exception group that passed through task groups and libraries prints hundreds of lines, with the important
line in the middle. People often read only the end of the output.
"""

import asyncio
import traceback
from pathlib import Path

from devstack.stack import CHECKOUT

LINES = 15
"""The number of lines up to which a traceback is not shortened."""
_SHOWN = 4
_WIDTH = 300


def whole_lines(error: BaseException) -> list[str]:
    """Return the traceback as Python prints it."""
    return "".join(traceback.format_exception(error)).rstrip().splitlines()


def closing_lines(error: BaseException) -> list[str]:
    """Return the traceback if it is short, else the place and message of each exception.

    The result has at most `LINES` lines. The original exception comes first, exceptions that followed from it
    later. A group is replaced by its members.
    """
    whole = whole_lines(error)
    if len(whole) <= LINES and max(map(len, whole)) <= _WIDTH:
        return whole
    single = [one for one in _singles(error, set()) if not isinstance(one, asyncio.CancelledError)] or [error]
    lines = ["The exceptions of this traceback, each with its innermost frame of our own:"]
    for one in single[:_SHOWN]:
        lines += _place(one)
    if len(single) > _SHOWN:
        lines.append(f"and {len(single) - _SHOWN} more exceptions")
    return [line[:_WIDTH] for line in lines]


def _singles(error: BaseException, seen: set[int]) -> list[BaseException]:
    """Return the exception, or the members of a group, after the exceptions that it was raised from."""
    if id(error) in seen:
        return []
    seen.add(id(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    found = _singles(before, seen) if before else []
    if not isinstance(error, BaseExceptionGroup):
        return [*found, error]
    return found + [one for member in error.exceptions for one in _singles(member, seen)]


def _place(error: BaseException) -> list[str]:
    """Return at most three lines: file and line, the code there, and the first line of the message."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_own(Path(frame.filename))] or frames
    lines = "".join(traceback.format_list(own[-1:])).splitlines()[:2]
    return [*lines, "".join(traceback.format_exception_only(error)).splitlines()[0]]


def _is_own(path: Path) -> bool:
    return path.is_relative_to(CHECKOUT) and "site-packages" not in path.parts
