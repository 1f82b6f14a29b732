"""Rate limit for log lines that external callers can cause, so that they cannot fill the disk."""

import time

import structlog

_log = structlog.get_logger()


class Seldom:
    """Logs an event at most once in `seconds`, with the number of events left out since the last line."""

    def __init__(self, event: str, seconds: float = 1.0) -> None:
        self._event = event
        self._seconds = seconds
        self._next_at = 0.0
        self._left_out = 0

    def log(self, **fields: object) -> None:
        now = time.monotonic()
        if now < self._next_at:
            self._left_out += 1
            return
        if self._left_out:
            fields["left_out"] = self._left_out
        self._next_at, self._left_out = now + self._seconds, 0
        _log.warning(self._event, **fields)
