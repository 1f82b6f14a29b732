"""Tests that the API shows every limit of the settings, with its value."""

from pydantic import SecretStr

from services.gateway.limits import limits_of
from services.gateway.settings import GatewaySettings
from shared.settings import ServiceSettings

NO_LIMITS = {
    "allow_local_clone_urls",
    "backend",
    "cluster",
    "database_wait_seconds",
    "gitea_webhook_secret",
    "github_webhook_secret",
    "hook_secrets_seconds",
    "http_port",
    "inlet_wait_seconds",
    "pipeline_processes",
    "public_url",
}
"""Settings that do not limit users."""


def test_every_limit_of_the_gateway_is_shown_with_its_value() -> None:
    settings = GatewaySettings(
        database_url=SecretStr("postgresql://a:b@localhost/c"),
        amqp_url=SecretStr("amqp://a:b@localhost/"),
        tokens_per_user=7,
    )
    shown = {limit.setting: limit for limit in limits_of(settings)}
    own = set(GatewaySettings.model_fields) - set(ServiceSettings.model_fields) - NO_LIMITS
    assert set(shown) == {f"TOWPATH_{name.upper()}" for name in own}
    assert shown["TOWPATH_TOKENS_PER_USER"].value == 7
    assert all(limit.unit and limit.reason.endswith(".") for limit in shown.values())
