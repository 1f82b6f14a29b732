"""Tests of secrets in settings.

A service refuses to start with a placeholder or a well-known password. No error shows a secret.
"""

import pytest
from pydantic import SecretStr, ValidationError

from services.gateway.settings import GatewaySettings
from shared.settings import DatabaseSettings

GOOD = "postgresql://towpath:W9s2kQ@db.example:5432/towpath"


def database(url: str, **fields: object) -> DatabaseSettings:
    return DatabaseSettings(database_url=SecretStr(url), **fields)  # type: ignore[arg-type] # any of them


@pytest.mark.parametrize(
    "url",
    [
        GOOD,
        "postgresql://towpath@db.example/towpath",
        "postgresql://db.example/guest",
        "postgresql://postgres:%67uests@db/x",
    ],
)
def test_a_password_of_ones_own_starts(url: str) -> None:
    assert database(url).database_url.get_secret_value() == url


@pytest.mark.parametrize("password", ["guest", "postgres", "towpath", "PassWord", "%67uest", "mona"])
def test_a_password_that_everybody_knows_refuses_to_start_outside_a_demo(password: str) -> None:
    url = f"postgresql://mona:{password}@db.example/towpath"
    with pytest.raises(ValidationError, match="TOWPATH_DATABASE_URL has a password that everybody knows"):
        database(url)
    assert database(url, allow_default_passwords=True)


@pytest.mark.parametrize("in_a_demo", [True, False])
def test_a_placeholder_never_starts(in_a_demo: bool) -> None:
    with pytest.raises(ValidationError, match="TOWPATH_DATABASE_URL still has the placeholder"):
        database("postgresql://towpath:CHANGE_ME@db.example/towpath", allow_default_passwords=in_a_demo)


def test_a_webhook_secret_that_was_not_filled_in_refuses_to_start() -> None:
    with pytest.raises(ValidationError, match="TOWPATH_GITHUB_WEBHOOK_SECRET still has the placeholder"):
        GatewaySettings(
            database_url=SecretStr(GOOD),
            amqp_url=SecretStr("amqp://mq.example"),
            github_webhook_secret=SecretStr("CHANGE_ME"),
        )


def test_no_error_shows_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOWPATH_DATABASE_URL", "postgresql://mona:CHANGE_ME-s3cr3t@db.example/towpath")
    monkeypatch.setenv("TOWPATH_DATABASE_POOL_SIZE", "none")
    with pytest.raises(ValidationError) as refused:
        DatabaseSettings()
    assert "s3cr3t" not in str(refused.value)
