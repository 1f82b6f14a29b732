"""The frame of every service process: health endpoints, named tasks that run until a signal, and shutdown."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Protocol, Self

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from shared.settings import ServiceSettings

_log = structlog.get_logger()


class Runnable(Protocol):
    """A task of a service. It runs until it is cancelled; it is an error if it ends by itself.

    On cancellation it finishes or returns the work that it holds.
    """

    async def run(self) -> None: ...


class Service:
    """One service process: its HTTP server and its tasks. Use it with `async with`.

    `/healthz` shows that the process runs, `/readyz` that it can do its work. `/metrics` is for Prometheus.
    """

    def __init__(
        self,
        name: str,
        settings: ServiceSettings,
        app: web.Application | None = None,
        runner: Callable[..., web.AppRunner] = web.AppRunner,
        site: Callable[..., web.BaseSite] = web.TCPSite,
    ) -> None:
        """Add the health routes to `app`. Without an `app` the service has only these routes.

        `runner` and `site` are the classes that serve the application.
        """
        self._name = name
        self._settings = settings
        self._app = app if app is not None else web.Application()
        self._app.router.add_get("/healthz", self._healthz)
        self._app.router.add_get("/readyz", self._readyz)
        self._app.router.add_get("/metrics", self._metrics)
        self._runner = runner(
            self._app,
            access_log=None,
            shutdown_timeout=settings.shutdown_seconds,
            handle_signals=False,
            auto_decompress=False,
        )
        self._site = site
        self._tasks: dict[asyncio.Task[None], str] = {}
        self._checks: list[tuple[str, Callable[[], Awaitable[bool]]]] = []
        self._stopping = asyncio.Event()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        await self._runner.setup()
        await self._site(self._runner, self._settings.http_host, self._settings.http_port).start()
        port = self._runner.addresses[0][1]
        _log.info("service_started", host=self._settings.http_host, port=port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self._settings.shutdown_seconds)
            for task in late:
                _log.warning("task_ended_late", task=self._tasks[task])
                task.cancel()
        await self._runner.cleanup()
        _log.info("service_stopped")

    def ready_when(self, what: str, check: Callable[[], Awaitable[bool]]) -> None:
        """Add a check named `what`. `/readyz` answers 200 only while all checks return True."""
        self._checks.append((what, check))

    def keep_running(self, runnable: Runnable) -> None:
        """Run it as a task until the service stops."""
        name = getattr(runnable, "name", type(runnable).__name__)
        self._tasks[asyncio.create_task(runnable.run(), name=name)] = name

    async def until_signalled(self) -> None:
        """Wait for SIGTERM or SIGINT.

        Raises RuntimeError if a task ends by itself. The process then has to be restarted.
        """
        signalled = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([signalled, *self._tasks], return_when=asyncio.FIRST_COMPLETED)
        if self._stopping.is_set():
            return
        signalled.cancel()
        ended = [task for task in self._tasks if task.done()]
        for task in ended:
            _log.error(
                "task_ended", task=self._tasks[task], exc_info=None if task.cancelled() else task.exception()
            )
        raise RuntimeError(f"tasks ended: {', '.join(self._tasks[task] for task in ended)}")

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "service": self._name})

    async def _readyz(self, _request: web.Request) -> web.Response:
        checks = {what: await check() for what, check in self._checks}
        ready = not self._stopping.is_set() and all(checks.values())
        return web.json_response(
            {"status": "ready" if ready else "not ready", "checks": checks}, status=200 if ready else 503
        )

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
