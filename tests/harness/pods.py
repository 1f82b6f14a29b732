"""Pod settings for tests: the defaults of the product, except for the fields that a test changes."""

from dataclasses import replace
from typing import Any

from pydantic import SecretStr

from services.executor.kubernetes import opening
from services.executor.kubernetes.manifest import PodSettings
from services.executor.settings import ExecutorSettings


def pod_settings(installation: str = "abcdefgh", **changes: Any) -> PodSettings:
    """Return the default settings with these fields of PodSettings changed."""
    defaults = ExecutorSettings(
        database_url=SecretStr("postgresql://unused"), amqp_url=SecretStr("amqp://unused")
    )
    return replace(opening.pod_settings(defaults, installation), **changes)
