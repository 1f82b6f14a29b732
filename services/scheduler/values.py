"""Conversion of column values to domain values."""

from enum import StrEnum
from typing import TypeVar

import structlog
from pydantic import BaseModel, ValidationError

E = TypeVar("E", bound=StrEnum)
M = TypeVar("M", bound=BaseModel)

_log = structlog.get_logger()


def readable(kind: type[M], definition: object, job_id: int) -> M | None:
    """Returns part of a job's definition, or None if this release cannot read it.

    The error is logged.
    """
    try:
        return kind.model_validate(definition)
    except ValidationError:
        _log.exception("definition_unreadable", job_id=job_id)
        return None


def enum(kind: type[E], value: str | None) -> E | None:
    return None if value is None else kind(value)
