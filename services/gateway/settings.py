"""The gateway's settings. The environment variable of a field is `TOWPATH_` + its name in upper case."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr

from shared.settings import ServiceSettings

MEBIBYTE = 1 << 20


class GatewaySettings(ServiceSettings):
    """The gateway's own settings, in addition to those of every service."""

    http_port: int = Field(default=8080, ge=0, le=65535)
    """Port of the HTTP server. 0 selects any free port."""
    public_url: str = Field(default="", pattern=r"^(https?://[^\s]+)?$")
    """The URL at which forges reach this gateway. It is part of the `webhook_url` of a repository.

    If empty, the address of the API request is used.
    """
    github_webhook_secret: SecretStr = SecretStr("")
    """The forge-wide secrets of GitHub, separated by commas (several while one is being replaced).

    If empty, GitHub webhooks at the forge-wide address are refused.
    """
    gitea_webhook_secret: SecretStr = SecretStr("")
    """The forge-wide secrets of Gitea, in the same format."""
    allow_local_clone_urls: bool = False
    """Allow file:// and http:// clone URLs, and hosts in private networks.

    Only for demos and tests: jobs could read what the executor can read.
    """

    cluster: str = Field(default="local", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """The cluster whose executors' dead letters are stored here, in addition to those of all other queues."""

    database_wait_seconds: PositiveFloat = 0.8
    """The time a webhook waits for Postgres before it goes to the fallback queue.

    A group commit takes a few milliseconds. Forges give up after 10 s.
    """
    inlet_wait_seconds: PositiveFloat = 0.8
    """The time a webhook then waits for the fallback queue. Both waits together stay below 2 s."""
    inlet_body_bytes: PositiveInt = 8 * MEBIBYTE
    """Larger bodies are not stored in the fallback queue.

    RabbitMQ 4 refuses messages over 16 MiB, and base64 adds a third.
    """
    webhook_body_bytes: PositiveInt = 25 * MEBIBYTE
    """Largest body of a webhook. GitHub does not send more.

    A form may be three times as large, because each escaped byte of its payload takes three bytes.
    """
    body_memory_bytes: PositiveInt = 256 * MEBIBYTE
    """Memory for request bodies in one gateway, over all requests.

    Beyond it bodies wait, slow ones are dropped, and finally requests get 503.
    """
    body_reserve_bytes: PositiveInt = 32 * MEBIBYTE
    """The part of `body_memory_bytes` for bodies of at most 1 MiB, so that large ones cannot block webhooks.

    At most a quarter of `body_memory_bytes` is reserved.
    """
    body_seconds: PositiveFloat = 10
    """The time in which a request's body has to arrive."""
    body_bytes_per_second: PositiveInt = 16 << 10
    """The minimum rate of a body, in bytes per second over windows of 3 s.

    The connection of every forge is faster. A client that holds memory has to send at this rate.
    """
    connections: PositiveInt = 4000
    """Open connections in one gateway. Each costs a descriptor and about 25 kB.

    The limit is lower if the process may not open enough descriptors. At the limit, a new connection replaces
    the one that has waited longest for its request.
    """
    head_seconds: PositiveFloat = 10
    """The time in which a request's head has to arrive. Forges send it in one packet."""
    idle_seconds: PositiveFloat = 75
    """The time an idle connection is kept open. Proxies should close first; they wait 60 s."""
    send_seconds: PositiveFloat = 60
    """The time a client may read nothing of its answer while more data waits to be sent."""
    pipeline_processes: PositiveInt = 2
    """Processes of one gateway that read pipelines. Each takes 40 MB and is started on demand."""
    pipeline_checks: PositiveInt = 64
    """Pipelines that are read or wait to be read at once in one gateway, to be saved or validated.

    A document of 256 KiB takes about 0.5 s. Beyond the limit the answer is 503.
    """
    pipeline_checks_per_user: PositiveInt = 16
    """The same limit for one user, so that one user cannot fill the queue."""
    pipeline_check_seconds: PositiveFloat = 20
    """The wall-clock time that reading one pipeline may take, even on a busy machine."""
    backend: Literal["local", "kubernetes"] = "local"
    """The kind of the cluster, as the executor's, for previews. `local` runs no code of forks."""
    pattern_steps: PositiveInt = 50_000
    """The scheduler's setting of the same name, for previews. Give both services the same value."""
    pipelines_per_user: PositiveInt = 200
    """Pipelines that a user may have. Each push is compared with all pipelines that name its repository."""
    tokens_per_user: PositiveInt = 100
    """Valid tokens that a user may have: one for each machine and program.

    Tokens that administrators create are not limited.
    """
    secret_bytes: int = Field(default=64 << 10, ge=1 << 10, le=64 << 10)
    """Largest value of a secret. It becomes a variable of processes, which Linux limits to 128 KiB."""
    secrets_per_repository: PositiveInt = 100
    """Secrets that a repository may have."""
    hook_secrets_seconds: PositiveFloat = 30
    """The delay after which a repository's secret changed through another gateway is valid here."""
    body_retention_days: PositiveInt = 30
    """The time for which the bodies of deliveries are kept."""
    live_streams: PositiveInt = 2000
    """Live streams and downloads of logs open at once in one gateway. Each costs a socket and about 20 kB.

    The limit is at most half of `connections`, so that other requests find a free connection.
    """
    live_streams_per_user: PositiveInt = 50
    """The same limit for one user. A person watches a few runs in a few windows."""

    def webhook_secrets(self, forge: str) -> tuple[bytes, ...]:
        """Return the forge-wide secrets of a forge, in the configured order."""
        text = {"github": self.github_webhook_secret, "gitea": self.gitea_webhook_secret}[
            forge
        ].get_secret_value()
        return tuple(secret.strip().encode() for secret in text.split(",") if secret.strip())
