"""Sets the clock of a Python process wrong by TOWPATH_TEST_CLOCK_SECONDS: put this folder on its PYTHONPATH.

The monotonic clock stays right.

Instants that it gives out are real ones: libraries written in C ask for exactly that type.
"""

import datetime as dt
import os
import time
from typing import Any

_seconds = float(os.environ.get("TOWPATH_TEST_CLOCK_SECONDS", "0"))
_right_time = time.time
_right = dt.datetime


class _Kind(type):
    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, _right)


class _Wrong(_right, metaclass=_Kind):
    def __new__(cls, *fields: Any, **named: Any) -> Any:
        return _right(*fields, **named)

    @classmethod
    def now(cls, tz: dt.tzinfo | None = None) -> Any:
        return _right.now(tz) + dt.timedelta(seconds=_seconds)


if _seconds:
    time.time = lambda: _right_time() + _seconds
    dt.datetime = _Wrong  # type: ignore[misc]  # that is the point
