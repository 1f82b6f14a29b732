"""Database settings for tests."""

from pydantic import SecretStr

from shared.settings import DatabaseSettings
from tests.harness.waiting import TIMEOUT_FACTOR


def database_settings(url: str) -> DatabaseSettings:
    """Return settings for calls that a test makes directly, without the retries of a service.

    The time for a connection is therefore multiplied by `TIMEOUT_FACTOR`.
    """
    seconds = DatabaseSettings.model_fields["database_connect_seconds"].default * TIMEOUT_FACTOR
    return DatabaseSettings(
        database_url=SecretStr(url), database_connect_seconds=seconds, database_acquire_seconds=seconds
    )
