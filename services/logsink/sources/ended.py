"""The source of a log that is known to have ended and of which nothing more can be read: it has the end
alone.
"""

from services.logsink.sources import End, Reading


class Ended:
    """A `Source` without lines."""

    def __init__(self, end: End) -> None:
        self._end = end

    async def read(self) -> Reading:
        return Reading(end=self._end)

    async def changed(self, seconds: float) -> None:
        """At once: the end is there."""

    def has_ended(self) -> bool:
        return True

    def attempt_over(self, reason: str | None) -> None:
        """It has ended already."""

    async def close(self) -> None:
        """There is nothing to let go of."""
