"""Logging: structlog writes one JSON object per line, with the service's name, to standard output.

Lines about the work that follows from a webhook or an API request have its `trace_id` (`shared.tracing`).

Log lines never contain payloads.
"""

import logging
import sys

import structlog

from shared.settings import LogSettings
from shared.tracing import add_trace_id

_without_locals = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
"""Renders tracebacks without local variables, because these hold tokens, secrets and payloads."""


def configure_logging(settings: LogSettings, service: str) -> None:
    """Configure logging for this process. Call it once, before anything is logged."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    renderers: list[structlog.typing.Processor] = (
        [structlog.processors.ExceptionRenderer(_without_locals), structlog.processors.JSONRenderer()]
        if settings.log_json
        else [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            add_trace_id,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(
        level=logging.WARNING,
        stream=sys.stdout,
        format='{"event": "library", "logger": "%(name)s", "level": "%(levelname)s"}',
    )
    # These libraries log every reconnect attempt with a traceback. Our consumers log one line instead.
    for noisy in (
        "aio_pika",
        "aiormq",
    ):
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
