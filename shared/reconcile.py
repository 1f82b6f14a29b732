"""Reconcilers: read tables and cluster periodically, and finish the work that messages did not finish.

Each check calls the same functions as the message path, takes only rows older than a few seconds, and has its
own heartbeat metric.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from prometheus_client import Counter, Gauge

from shared.cancellation import cancellations
from shared.errors import Transient
from shared.tracing import traced

_log = structlog.get_logger()
_heartbeat = Gauge(
    "towpath_reconciler_heartbeat_seconds", "When this check last ended well (Unix time)", ["check"]
)
_found = Counter("towpath_reconciler_found_total", "Rows that a reconciler finished", ["check"])


@dataclass(frozen=True)
class Check:
    """One periodic check of a reconciler."""

    name: str
    check: Callable[[], Awaitable[int]]
    """Finishes the rows that it finds and returns their number. Safe at any time and in several replicas."""


class Reconciler:
    """Runs every check once at the start and then every `every_seconds`.

    Each check has its own task, so a slow check does not delay the others.
    """

    name = "reconciler"

    def __init__(self, checks: list[Check], every_seconds: float) -> None:
        self._checks = checks
        self._every_seconds = every_seconds

    async def run(self) -> None:
        async with asyncio.TaskGroup() as checking:
            for check in self._checks:
                checking.create_task(self._keep_checking(check), name=check.name)

    async def _keep_checking(self, check: Check) -> None:
        while True:
            try:
                with traced():
                    found = await check.check()
            except Transient as error:
                _log.info("reconciler_waits", check=check.name, why=str(error))
            except Exception:  # noqa: BLE001 - a check's outermost edge: a bug in one must not end the others
                _log.exception("reconciler_failed", check=check.name)
            else:
                _heartbeat.labels(check.name).set(time.time())
                if found:
                    _found.labels(check.name).inc(found)
                    _log.info("reconciler_found", check=check.name, count=found)
            if cancellations():  # a library has swallowed it, and the group cancels this task only once
                raise asyncio.CancelledError
            await asyncio.sleep(self._every_seconds)
