"""Source of a log that has ended and of which nothing more can be read: it returns only the end."""

from services.logsink.sources import End, Reading


class Ended:
    """A `Source` without lines."""

    def __init__(self, end: End) -> None:
        self._end = end

    async def read(self) -> Reading:
        return Reading(end=self._end)

    async def changed(self, seconds: float) -> None:
        """Returns at once, because the end can be read."""

    def has_ended(self) -> bool:
        return True

    def attempt_over(self, reason: str | None) -> None:
        """Does nothing: the log has ended already."""

    async def close(self) -> None:
        """Does nothing: there is nothing to release."""
