"""Settings that every service has.

Only `settings` modules read the environment; each variable is `TOWPATH_` + the field's name in upper case.
"""

from pathlib import Path
from typing import Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

PLACEHOLDER = "CHANGE_ME"
"""Stands in the files of a deployment where somebody has to fill in a value."""
WELL_KNOWN_PASSWORDS = frozenset(
    {"admin", "changeme", "guest", "password", "postgres", "rabbitmq", "secret", "towpath"}
)


class Settings(BaseSettings):
    """Frozen, read once at start; unknown variables are other services' and are left alone.

    A secret that was never filled in refuses to start.
    """

    model_config = SettingsConfigDict(
        env_prefix="TOWPATH_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    allow_default_passwords: bool = False
    """True in demos and tests alone: passwords that everybody knows are taken. A placeholder never is."""

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
    """Of `scheme://user:password@host`; a value that is no address has none.

    A password that is the user's name counts too.
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
    """How to reach Postgres, and how long to wait for it."""

    database_url: SecretStr
    """postgresql://user:password@host:port/database"""
    database_pool_size: PositiveInt = 10
    """Connections a process; with five services of two replicas this stays under Postgres' default of 100."""
    database_connect_seconds: PositiveFloat = 5
    """A new connection on a loaded machine takes well under one second."""
    database_acquire_seconds: PositiveFloat = 5
    """How long a handler waits for a free connection before it counts as the database being away."""
    database_command_seconds: PositiveFloat = 20
    """No statement of ours takes longer; a half-open connection is noticed after this long."""
    database_idle_transaction_seconds: PositiveFloat = 30
    """A process that stops in the middle of a transaction (SIGSTOP, a frozen machine) loses it after this
    long, so that its locks hold up nobody for ever.
    """
    database_plan_cache_mode: Literal["auto", "force_generic_plan"] = "auto"
    """Services whose statements have one good plan, whatever the arguments, make each plan once: a fifth of
    Postgres' work went into plans.
    """


class BusSettings(Settings):
    """How to reach RabbitMQ, and how long to wait for it."""

    amqp_url: SecretStr
    """amqp://user:password@host:port/vhost"""
    amqp_connect_seconds: PositiveFloat = 5
    amqp_heartbeat_seconds: PositiveInt = 10
    """Half-open connections are noticed after two of these."""
    amqp_publish_seconds: PositiveFloat = 5
    """After this long without a confirm the publish counts as unknown and is made again."""


class HttpSettings(Settings):
    """Where a service listens: health, metrics, and the gateway's API."""

    http_host: str = "127.0.0.1"
    http_port: int = Field(default=0, ge=0, le=65535)
    """0: any free port, written to the log."""


class LogSettings(Settings):
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")
    log_json: bool = True
    """False: coloured lines for a person at a terminal."""


class CrashpointSettings(Settings):
    """For tests alone; see `shared.crashpoint`."""

    crashpoint: str = Field(default="", pattern=r"^([a-z_.]+(:[1-9][0-9]*)?)?$")
    """`name:n`: the process dies at the n-th passage of this point. Empty: never."""


class ServiceSettings(DatabaseSettings, BusSettings, HttpSettings, LogSettings):
    """What every service needs; services add their own fields."""

    reconcile_seconds: PositiveFloat = Field(default=10, le=10)
    """How often reconcilers look. The promise that a wiped queue costs at most 30 s rests on this bound."""
    reconcile_age_seconds: PositiveFloat = 5
    """Rows younger than this are the message path's."""
    shutdown_seconds: PositiveFloat = 20
    """How long a stopping service finishes what it has begun."""
    encryption_key_file: Path | None = None
    """Lines `id:base64` of 32-byte keys: the first encrypts, all decrypt."""
