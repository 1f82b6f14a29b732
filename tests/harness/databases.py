"""Settings for the database of a test."""

from pydantic import SecretStr

from shared.settings import DatabaseSettings
from tests.harness.waiting import PATIENCE


def database_settings(url: str) -> DatabaseSettings:
    """For what a test calls directly, which nothing tries again as a service would: a connection may take as
    long as the machine is slow.
    """
    seconds = DatabaseSettings.model_fields["database_connect_seconds"].default * PATIENCE
    return DatabaseSettings(
        database_url=SecretStr(url), database_connect_seconds=seconds, database_acquire_seconds=seconds
    )
