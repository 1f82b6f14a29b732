"""Settings that all services share.

Only `settings` modules read the environment. Each variable is `TOWPATH_` and the field's name in upper case.
"""

from pathlib import Path
from typing import Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PLACEHOLDER = "CHANGE_ME"
"""Marks a value in the files of a deployment that an administrator must replace."""
WELL_KNOWN_PASSWORDS = frozenset(
    {"admin", "changeme", "guest", "password", "postgres", "rabbitmq", "secret", "towpath"}
)


class Settings(BaseSettings):
    """The base of all settings: read once at startup and frozen. Variables of other services are ignored.

    Startup fails if a secret still has its placeholder or a well-known password.
    """

    model_config = SettingsConfigDict(
        env_prefix="TOWPATH_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    allow_default_passwords: bool = False
    """Allows well-known passwords. True only in demos and tests. Placeholders are never allowed."""

    @model_validator(mode="after")
    def _no_secret_that_everybody_knows(self) -> Self:
        for name in type(self).model_fields:
            value = getattr(self, name)
            if not isinstance(value, SecretStr):
                continue
            if PLACEHOLDER in value.get_secret_value():
                raise ValueError(f"TOWPATH_{name.upper()} still has the placeholder {PLACEHOLDER}")
            if not self.allow_default_passwords and _has_well_known_password(value.get_secret_value()):
                raise ValueError(
                    f"TOWPATH_{name.upper()} has a password that everybody knows; "
                    "TOWPATH_ALLOW_DEFAULT_PASSWORDS=true takes it, for a demo"
                )
        return self


def _has_well_known_password(address: str) -> bool:
    """Return True if an address `scheme://user:password@host` has a well-known password.

    A password that equals the user's name counts too. A value that is not an address has no password.
    """
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    password = unquote(parts.password or "")
    return bool(password) and (
        password.lower() in WELL_KNOWN_PASSWORDS or password == unquote(parts.username or "")
    )


class DatabaseSettings(Settings):
    """The address of Postgres, and timeouts for it."""

    database_url: SecretStr
    """postgresql://user:password@host:port/database"""
    database_pool_size: PositiveInt = 10
    """Connections of each process. Four services with two replicas each stay below Postgres' limit of 100."""
    database_connect_seconds: PositiveFloat = 5
    """A new connection on a loaded machine takes well under one second."""
    database_acquire_seconds: PositiveFloat = 5
    """The time a handler waits for a free connection before the database counts as unavailable."""
    database_command_seconds: PositiveFloat = 20
    """No statement of ours takes longer. A half-open connection is noticed after this time."""
    database_idle_transaction_seconds: PositiveFloat = 30
    """Postgres ends an idle transaction after this time.

    A process that stops inside a transaction (SIGSTOP, a frozen machine) therefore does not hold its locks
    forever.
    """
    database_plan_cache_mode: Literal["auto", "force_generic_plan"] = "auto"
    """`force_generic_plan` plans each statement once per connection.

    It is for services whose best plans do not depend on the arguments. Without it, planning took a fifth of
    Postgres' work.
    """


class BusSettings(Settings):
    """The address of RabbitMQ, and timeouts for it."""

    amqp_url: SecretStr
    """amqp://user:password@host:port/vhost"""
    amqp_connect_seconds: PositiveFloat = 5
    amqp_heartbeat_seconds: PositiveInt = 10
    """A half-open connection is noticed after two of these intervals."""
    amqp_publish_seconds: PositiveFloat = 5
    """If a publish is not confirmed within this time, its result is unknown and it is repeated."""


class HttpSettings(Settings):
    """The address on which a service serves health checks, metrics, and in the gateway the API."""

    http_host: str = "127.0.0.1"
    http_port: int = Field(default=0, ge=0, le=65535)
    """0 selects a free port, which is written to the log."""


class LogSettings(Settings):
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    log_json: bool = True
    """False writes coloured lines for a person at a terminal."""


class CrashpointSettings(Settings):
    """Settings for tests only. See `shared.crashpoint`."""

    crashpoint: str = Field(default="", pattern=r"^([a-z_.]+(:[1-9][0-9]*)?)?$")
    """`name:n` ends the process when it passes this point for the n-th time. An empty value never does."""


class ServiceSettings(DatabaseSettings, BusSettings, HttpSettings, LogSettings):
    """The settings that every service needs. Services add their own fields."""

    reconcile_seconds: PositiveFloat = Field(default=10, le=10)
    """The interval of the reconcilers. The guarantee that a wiped queue costs at most 30 s depends on it."""
    reconcile_age_seconds: PositiveFloat = 5
    """Reconcilers leave younger rows to the message path."""
    shutdown_seconds: PositiveFloat = 20
    """The time in which a service that is stopping may finish the work that it has begun."""
    encryption_key_file: Path | None = None
    """A file with lines `id:base64` of 32-byte keys. The first key encrypts; all keys decrypt."""
