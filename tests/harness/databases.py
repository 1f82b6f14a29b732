"""Database settings for tests."""

from pydantic import SecretStr

from shared.settings import DatabaseSettings
from tests.harness.waiting import PATIENCE


def database_settings(url: str) -> DatabaseSettings:
    """Return settings for calls that a test makes directly, without the retries of a service.

    The time for a connection is therefore multiplied by `PATIENCE`.
    """
    seconds = DatabaseSettings.model_fields["database_connect_seconds"].default * PATIENCE
    return DatabaseSettings(
        database_url=SecretStr(url), database_connect_seconds=seconds, database_acquire_seconds=seconds
    )
