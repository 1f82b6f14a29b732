"""Shift the clock of a Python process by TOWPATH_TEST_CLOCK_SECONDS, if this folder is on its PYTHONPATH.

The monotonic clock is not shifted. The shifted instants are real `datetime` objects, because libraries
written in C require exactly that type.
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
