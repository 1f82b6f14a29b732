"""Prints the live log of a run, with a heading for each container and step and no control characters."""

import re
from collections.abc import Callable
from typing import Any

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


class LogPrinter:
    """Prints the events of one run's log stream in their order."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._place: tuple[str, int, str] | None = None

    def show(self, kind: str, data: dict[str, Any]) -> bool:
        """Print one event, and return True if it is the last of the run. Unknown kinds are skipped."""
        match kind:
            case "lines":
                self._heading(data)
                for line in data["lines"]:
                    self._say(f"    {harmless(line)}")
            case "step":
                self._heading(data)
                if data["phase"] == "begin":
                    self._say(f"  > {harmless(data['name'])}")
                elif data["exit_code"]:
                    self._say(f"  > ended with exit code {data['exit_code']}")
        return kind == "end"

    def _heading(self, data: dict[str, Any]) -> None:
        place = (data["job"], data["attempt"], data["container"])
        if place == self._place:
            return
        self._place = place
        job, attempt, container = place
        again = f", attempt {attempt}" if attempt > 1 else ""
        self._say(f"[{harmless(job)}{again}] {'checkout' if container == 'clone' else container}")


def harmless(text: str) -> str:
    """Return the text without characters that move a terminal's cursor or change its state."""
    return _CONTROL.sub("", text)
