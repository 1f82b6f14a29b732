"""Where logs come from: the Protocol that every source keeps, whatever the cluster."""

from dataclasses import dataclass
from typing import Any, Protocol

from services.logsink.lines import NO_LINES, Lines

Cursor = dict[str, Any]
"""JSON; only its own source understands it."""


@dataclass(frozen=True, slots=True)
class End:
    """Nothing more will come, on evidence."""

    gap: str | None = None
    """Why the log is not proven complete; None when it is."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a source has read in one go: a gap, then lines, then the end; each may be missing."""

    lines: Lines = NO_LINES
    cursor: Cursor | None = None
    """Where to read on once these lines are stored; None: where it was."""
    gap: str | None = None
    """Why lines may be missing before these."""
    more: bool = False
    """More can be read at once."""
    end: End | None = None


class SourceAway(Exception):
    """The source does not answer. It says nothing about the log: ask again later."""


class Source(Protocol):
    """The log of one container, read forward from a cursor.

    One follower uses it, one call at a time: `read` until there is no more, `changed`, `read` again, until a
    reading has an `end`; then `close`, which is also right at any other moment. A source opened anew at a
    stored cursor goes on exactly behind the lines stored with it, or says that there is a gap.
    """

    async def read(self) -> Reading:
        """Never waits for lines to be written.

        Memory is bounded: about 1 MiB at a time. Raises SourceAway; then the same is read again.
        """
        ...

    async def changed(self, seconds: float) -> None:
        """Returns when there may be more to read since the last `read`, at the latest after so long."""
        ...

    def has_ended(self) -> bool:
        """Whether the end is there to be read. Cheap and without waiting; False may be late, never wrong."""
        ...

    def attempt_over(self, reason: str | None) -> None:
        """The container's attempt has its verdict, with this reason: what has not begun to print will not.

        Safe to repeat.
        """
        ...

    async def close(self) -> None:
        """Lets go of files, watches and connections. Safe to repeat."""
        ...
