"""Settings of the log sink, and of the node agent."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, field_validator

from services.logsink.lines import LONGEST_LINE_BYTES, MOST_LINE_BYTES
from shared.settings import ServiceSettings

OptionalPath = Annotated[Path | None, BeforeValidator(lambda value: value or None)]
"""Empty: none."""


class LogSinkSettings(ServiceSettings):
    """Leases, pace and bounds of memory."""

    database_plan_cache_mode: Literal["auto", "force_generic_plan"] = "force_generic_plan"
    log_lease_seconds: float = Field(default=5, ge=1)
    """A killed log sink's streams are taken over after this long; it is renewed three times as often."""
    log_take_over_seconds: PositiveFloat = 1
    """How often a log sink looks for streams without an owner."""
    log_take_over_streams: PositiveInt = 50
    """Taken at one look, so that the log sinks that are left share the work of one that died."""
    log_look_seconds: PositiveFloat = 2
    """How often a stream is looked at that nothing wakes: only for what no event tells, such as a killed
    supervisor.
    """
    log_quiet_seconds: PositiveFloat = 0.02
    """From the first line of a quiet stream to its commit: a short job's lines and its end make one commit.
    """
    log_flow_seconds: PositiveFloat = 0.05
    """Between the commits of a stream whose lines flow.

    All streams keep the same beat, so that they share commits.
    """
    log_line_bytes: int = Field(default=LONGEST_LINE_BYTES, ge=1024, le=MOST_LINE_BYTES)
    """A longer line of a log, line feed included, is cut and says how much is missing.

    The log sink holds the last line of each stream in memory, and a viewer gets a line at once, so the
    default is small.
    """
    log_waiting_bytes: PositiveInt = 16 << 20
    """Compressed segments that wait for their commit; with more, nothing is read."""
    log_stream_waiting_bytes: PositiveInt = 4 << 20
    """The same for one stream, so that one alone never fills the whole."""
    log_silence_seconds: PositiveFloat = 86_400
    """A source that has not answered for so long after its attempt was over is sealed with a gap.

    Clusters come back after hours; after a day nobody waits.
    """
    log_retention_seconds: PositiveFloat = 60
    """How often segments of expired runs are looked for."""
    kubeconfigs: str = ""
    """The Kubernetes clusters whose logs are read through their API servers: `<cluster>=<path of a
    kubeconfig>`, separated by commas; an empty path is the cluster that the log sink runs in.
    """
    log_follows: PositiveInt = 1000
    """Logs that are followed at once through each API server; others wait their turn.

    Each holds a connection here, on the API server and on a kubelet.
    """
    kubernetes_watch_seconds: float = Field(default=100, ge=5, le=110)
    """How long a watch of pods lasts until they are listed again; a stalled one is noticed 10 s later, in
    less than 120 s.
    """
    kubernetes_log_file_bytes: PositiveInt = 10 << 20
    """`containerLogMaxSize` of the kubelets: a log that is shorter was never rotated, and has no gaps to look
    for.
    """

    @field_validator("kubeconfigs")
    @classmethod
    def _names_clusters(cls, value: str) -> str:
        if any(
            not name.strip() or not equals
            for name, equals, _ in (part.partition("=") for part in value.split(",") if part.strip())
        ):
            raise ValueError("TOWPATH_KUBECONFIGS: `<cluster>=<path>`, separated by commas")
        return value

    @property
    def clusters(self) -> dict[str, Path | None]:
        """The kubeconfig of each; None: the cluster that this process runs in."""
        parts = (part.partition("=") for part in self.kubeconfigs.split(",") if part.strip())
        return {name.strip(): Path(path.strip()) if path.strip() else None for name, _, path in parts}


class AgentSettings(LogSinkSettings):
    """Of the agent on one node of a Kubernetes cluster."""

    database_pool_size: PositiveInt = 2
    """There are as many agents as nodes."""
    cluster: str = Field(min_length=1)
    """The name of the cluster, as its executor has it."""
    kubeconfig: OptionalPath = None
    """Empty: the cluster that the agent runs in."""
    kubernetes_namespace: str = "towpath-builds"
    """Where the pods of attempts are."""
    agent_node: str = Field(min_length=1)
    """The name of this node."""
    agent_pod_logs: Path = Path("/var/log/pods")
    """The kubelet's directory."""
