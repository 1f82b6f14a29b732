"""Record which functions of Towpath a service enters, if this folder is on its PYTHONPATH.

TOWPATH_TEST_ENTERED is the folder for the result. Each SIGUSR1 begins the next phase of the service:

1. Idle: note the tasks that run although nothing happens, such as reconcilers and the renewal of leases.
2. Recording: note all functions that are entered, each with the first function of its task.
3. Written: the functions of tasks that do not run when idle are in `<service>.json`, by module.
"""

import os
import signal
import sys
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

_ROOT = Path(__file__).parents[3]
_OURS = (f"{_ROOT}/services/", f"{_ROOT}/shared/")
_SERVICES = ("services.gateway", "services.scheduler", "services.executor", "services.logsink")
_IDLE, _RECORDING, _WRITTEN = 1, 2, 3

_phase = 0
_idle: set[CodeType] = set()
_entered: set[tuple[CodeType, CodeType]] = set()


def _first_of_task(frame: FrameType) -> CodeType:
    """Return the outermost function of Towpath below the event loop, or in this thread."""
    first, outer = frame.f_code, frame.f_back
    while outer is not None and not (
        outer.f_code.co_name == "_run" and outer.f_code.co_filename.endswith("asyncio/events.py")
    ):
        if outer.f_code.co_filename.startswith(_OURS):
            first = outer.f_code
        outer = outer.f_back
    return first


def _on_event(frame: FrameType, event: str, _argument: Any) -> None:
    if event != "call" or _phase not in (_IDLE, _RECORDING):
        return
    code = frame.f_code
    if code.co_name == "<module>" or not code.co_filename.startswith(_OURS):
        return
    first = _first_of_task(frame)
    if _phase == _IDLE:
        _idle.add(first)
    else:
        _entered.add((first, code))


def _next_phase(_number: int, _frame: FrameType | None) -> None:
    global _phase  # noqa: PLW0603 - the state of the process
    _phase += 1
    if _phase == _WRITTEN:
        _write()


def _write() -> None:
    import json  # noqa: PLC0415 - a start of Python does not need it

    found: dict[str, set[str]] = {}
    for first, code in _entered:
        if first not in _idle:
            found.setdefault(str(Path(code.co_filename).relative_to(_ROOT)), set()).add(code.co_qualname)
    path = Path(os.environ["TOWPATH_TEST_ENTERED"], f"{sys.orig_argv[-1].removeprefix('services.')}.json")
    part = path.with_suffix(".part")
    part.write_text(json.dumps({module: sorted(names) for module, names in found.items()}))
    part.rename(path)


if os.environ.get("TOWPATH_TEST_ENTERED") and sys.orig_argv[-1] in _SERVICES:
    signal.signal(signal.SIGUSR1, _next_phase)
    threading.setprofile(_on_event)
    sys.setprofile(_on_event)
