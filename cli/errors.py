"""Errors that end a command. Each has a message, a fix, and the exit code that docs/cli.md promises."""

from typing import Any

FAILED = 1
USAGE = 2
NO_API = 3


class CommandError(Exception):
    """Ends the command with this message on stderr and this exit code."""

    exit_code = FAILED

    def __init__(self, message: str, fix: str = "", details: list[str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.details = details or []


class WrongUsage(CommandError):
    """The arguments cannot be used together."""

    exit_code = USAGE


class NotConfigured(CommandError):
    exit_code = NO_API


class Unreachable(CommandError):
    """The API did not answer."""

    exit_code = NO_API


class NotAllowed(CommandError):
    """The API answered 401 or 403: the token is invalid, or its rights are insufficient."""

    exit_code = NO_API


class Refused(CommandError):
    """The API gave another answer with a status of 400 or more.

    `problem` is the problem document, or empty if the answer had none.
    """

    def __init__(self, status: int, problem: dict[str, Any], request: str) -> None:
        message = str(problem.get("detail") or problem.get("title") or f"the API answered {status}")
        details = [_fault(fault) for fault in problem.get("errors") or [] if isinstance(fault, dict)]
        super().__init__(f"{request}: {message} ({status})", _FIXES.get(status, ""), details)
        self.status = status
        self.problem = problem

    @property
    def faults(self) -> list[dict[str, Any]]:
        return [fault for fault in self.problem.get("errors") or [] if isinstance(fault, dict)]


_FIXES = {
    404: "it does not exist, or is not yours to see: the `list` command shows what is",
    409: "look at it with the `show` command",
    412: "somebody changed it meanwhile: show it, then change it again",
    503: "Postgres may be away for a moment: try again",
}


def _fault(fault: dict[str, Any]) -> str:
    hint = f" {fault['hint']}" if fault.get("hint") else ""
    return f"{fault.get('path') or 'request'}: {fault.get('message', '')}{hint}"
