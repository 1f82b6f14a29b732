"""The gateway's settings. Each variable is `TOWPATH_` + the field's name in upper case."""

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr

from shared.settings import ServiceSettings

MEBIBYTE = 1 << 20


class GatewaySettings(ServiceSettings):
    """What the gateway needs beside what every service needs."""

    http_port: int = Field(default=8080, ge=0, le=65535)
    """0: any free port."""
    public_url: str = Field(default="", pattern=r"^(https?://[^\s]+)?$")
    """How forges reach this gateway; part of the `webhook_url` that a registration answers.

    Empty: the address of that request.
    """
    github_webhook_secret: SecretStr = SecretStr("")
    """The forge-wide secrets of GitHub, separated by commas (several while one is being replaced).

    Empty: such webhooks are refused.
    """
    gitea_webhook_secret: SecretStr = SecretStr("")
    """The same for Gitea."""
    allow_local_clone_urls: bool = False
    """True: file:// and http:// to this machine may be registered as clone URLs.

    For demos and tests: jobs could read what the executor can.
    """

    cluster: str = Field(default="local", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """The cluster whose executors' dead letters are kept here, beside those of all other queues."""

    database_wait_seconds: PositiveFloat = 0.8
    """How long a webhook waits for Postgres before it goes to the inlet.

    A group commit takes a few milliseconds; forges give up after 10 s.
    """
    inlet_wait_seconds: PositiveFloat = 0.8
    """How long it then waits for the inlet. Both together stay under 2 s."""
    inlet_body_bytes: PositiveInt = 8 * MEBIBYTE
    """Larger bodies are not kept in the inlet: RabbitMQ 4 refuses messages over 16 MiB, and base64 adds a
    third.
    """
    webhook_body_bytes: PositiveInt = 25 * MEBIBYTE
    """GitHub sends no more.

    A form may be three times as large, because each escaped byte of its payload takes three.
    """
    body_memory_bytes: PositiveInt = 256 * MEBIBYTE
    """Bodies held at once by one gateway, over all requests.

    Beyond it bodies wait, slow ones give way, and at last the answer is 503.
    """
    body_reserve_bytes: PositiveInt = 32 * MEBIBYTE
    """Of these, for bodies of at most 1 MiB alone, so that large ones can't keep the usual webhook out.

    At most a quarter of the whole counts.
    """
    body_seconds: PositiveFloat = 10
    """How long a request's body may take to arrive."""
    body_bytes_per_second: PositiveInt = 16 << 10
    """How slowly a body may come, in bytes per second over 3 s each.

    Every forge's link is faster, and who holds memory for nothing has to work for it.
    """
    connections: PositiveInt = 4000
    """Open at once in one gateway; each costs a descriptor and about 25 kB. Fewer where the process may open
    fewer descriptors.
    At the limit a new one takes the place of the one that has waited longest for its request."""
    head_seconds: PositiveFloat = 10
    """How long a request's head may take to arrive. Forges send it in one packet."""
    idle_seconds: PositiveFloat = 75
    """How long a connection is kept for its next request. Proxies, which should close first, wait 60 s."""
    send_seconds: PositiveFloat = 60
    """How long a client may read nothing of its answer while more of it waits."""
    pipeline_processes: PositiveInt = 2
    """Processes that read pipelines beside one gateway, started when they are needed first.

    Each takes 40 MB.
    """
    pipeline_checks: PositiveInt = 64
    """Pipelines that are read, or wait for it, at once in one gateway: being saved, or validated.

    A document of 256 KiB takes about 0.5 s. Beyond the limit the answer is 503.
    """
    pipeline_checks_per_user: PositiveInt = 16
    """The same of one user, so that one user can't fill the queue."""
    pipeline_check_seconds: PositiveFloat = 20
    """How long reading one pipeline may take, by the clock, on a busy machine too."""
    pipelines_per_user: PositiveInt = 200
    """Pipelines that a user may have. Each push of a repository is compared with all that name it."""
    tokens_per_user: PositiveInt = 100
    """Valid tokens that a user may have: one for each machine and program.

    What administrators make is not limited.
    """
    hook_secrets_seconds: PositiveFloat = 30
    """How soon a repository's secret changed through another gateway counts here."""
    body_retention_days: PositiveInt = 30
    """How long the bodies of deliveries are kept."""
    live_streams: PositiveInt = 2000
    """Live streams and downloads of logs open at once in one gateway; each costs a socket and about 20 kB.

    At most half of `connections` counts, so that others find room.
    """
    live_streams_per_user: PositiveInt = 50
    """The same of one user. A person watches a few runs in a few windows."""

    def webhook_secrets(self, forge: str) -> tuple[bytes, ...]:
        """The forge-wide secrets of a forge, oldest or newest first as configured."""
        text = {"github": self.github_webhook_secret, "gitea": self.gitea_webhook_secret}[
            forge
        ].get_secret_value()
        return tuple(secret.strip().encode() for secret in text.split(",") if secret.strip())
