"""What an administrator decides about pods: the defaults of the product, but for what a test says."""

from dataclasses import replace
from typing import Any

from pydantic import SecretStr

from services.executor.kubernetes import opening
from services.executor.kubernetes.manifest import PodSettings
from services.executor.settings import ExecutorSettings


def pod_settings(installation: str = "abcdefgh", **changes: Any) -> PodSettings:
    """`changes` are fields of PodSettings."""
    defaults = ExecutorSettings(
        database_url=SecretStr("postgresql://unused"), amqp_url=SecretStr("amqp://unused")
    )
    return replace(opening.pod_settings(defaults, installation), **changes)
