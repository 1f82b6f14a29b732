"""Sources of logs: the protocol that every source implements, for all kinds of clusters."""

from dataclasses import dataclass
from typing import Any, Protocol

from services.logsink.lines import NO_LINES, Lines

Cursor = dict[str, Any]
"""JSON that only the source which created it understands."""


@dataclass(frozen=True, slots=True)
class End:
    """Proof that nothing more will come."""

    gap: str | None = None
    """Reason why the log may be incomplete, or None if it is complete."""
    ended_step: int | None = None
    """The last step of a job that has ended, as its driver noted outside the log.

    Its end marker must be in the log.
    """


@dataclass(frozen=True, slots=True)
class Reading:
    """Result of one `read`: a gap, then lines, then the end. Each may be missing.

    A line without a line feed comes together with the end.
    """

    lines: Lines = NO_LINES
    cursor: Cursor | None = None
    """Position to read from once these lines are stored. None if it has not changed."""
    gap: str | None = None
    """Reason why lines may be missing before these."""
    more: bool = False
    """True if more can be read at once."""
    end: End | None = None


class SourceAway(Exception):
    """The source does not answer. This shows nothing about the log; read again later."""


class Source(Protocol):
    """The log of one container, read forward from a cursor.

    One follower uses it, one call at a time: `read` until there is no more, then `changed`, then `read`
    again, until a reading has an `end`; then `close`. `close` may also be called at any other time. A source
    that is opened at a stored cursor continues exactly after the lines stored with it, or reports a gap.
    """

    async def read(self) -> Reading:
        """Returns what can be read now; never waits for lines to be written.

        Memory is bounded to about 1 MiB at a time. Raises SourceAway; the next call then reads the same
        again.
        """
        ...

    async def changed(self, seconds: float) -> None:
        """Waits until there may be more to read since the last `read`, but at most `seconds`."""
        ...

    def has_ended(self) -> bool:
        """Returns True if the end can be read. Cheap, never waits.

        It may return False for a while after the end, but never True before it.
        """
        ...

    def attempt_over(self, reason: str | None) -> None:
        """Notes that the attempt has its verdict, with this reason.

        A container that has not begun to print never will. Safe to repeat.
        """
        ...

    async def close(self) -> None:
        """Releases files, watches and connections. Safe to repeat."""
        ...
