"""Settings of the log sink and of the node agent."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, field_validator

from services.logsink.lines import LONGEST_LINE_BYTES, MOST_LINE_BYTES
from shared.settings import ServiceSettings

OptionalPath = Annotated[Path | None, BeforeValidator(lambda value: value or None)]
"""An empty value means None."""


class LogSinkSettings(ServiceSettings):
    """Leases, pace and memory limits of the log sink."""

    database_plan_cache_mode: Literal["auto", "force_generic_plan"] = "force_generic_plan"
    log_lease_seconds: float = Field(default=5, ge=1)
    """Length of a lease. The streams of a killed log sink are taken over after this time.

    A lease is renewed every third of this time.
    """
    log_take_over_seconds: PositiveFloat = 1
    """Interval of the check for streams without an owner."""
    log_take_over_streams: PositiveInt = 50
    """Maximum number of streams taken over in one check.

    The limit makes the remaining log sinks share the streams of one that died.
    """
    log_check_seconds: PositiveFloat = 2
    """Interval at which a stream is checked if no event wakes its follower.

    The check finds changes that cause no event, such as a killed supervisor.
    """
    log_quiet_seconds: PositiveFloat = 0.02
    """Time from the first line of a quiet stream to its commit.

    A short job's lines and its end then share one commit.
    """
    log_flow_seconds: PositiveFloat = 0.05
    """Time between the commits of a stream whose lines keep coming.

    All such streams commit at the same moments, so that they share transactions.
    """
    log_line_bytes: int = Field(default=LONGEST_LINE_BYTES, ge=1024, le=MOST_LINE_BYTES)
    """Maximum length of a line of a log, including the line feed.

    A longer line is cut and ends with the number of missing bytes. The log sink holds the last line of each
    stream in memory, and a viewer gets a line at once, so the default is small.
    """
    log_waiting_bytes: PositiveInt = 16 << 20
    """Limit on compressed segments that wait for their commit. Above it, nothing is read."""
    log_stream_waiting_bytes: PositiveInt = 4 << 20
    """The same limit for one stream, so that one stream alone cannot use up `log_waiting_bytes`."""
    log_silence_seconds: PositiveFloat = 86_400
    """Time after the end of an attempt until a source that does not answer is sealed with a gap.

    Clusters can return after hours. After a day nobody waits for the log.
    """
    log_retention_seconds: PositiveFloat = 60
    """Interval of the check for segments of expired runs."""
    kubeconfigs: str = ""
    """Kubernetes clusters whose logs are read through their API servers.

    The format is `<cluster>=<path of a kubeconfig>`, separated by commas. An empty path means the cluster in
    which the log sink runs.
    """
    log_follows: PositiveInt = 1000
    """Maximum number of logs that are followed at once through each API server. Others wait.

    Each followed log holds a connection here, on the API server and on a kubelet.
    """
    kubernetes_watch_seconds: float = Field(default=100, ge=5, le=110)
    """Length of a watch of pods, after which they are listed again.

    A stalled watch is noticed 10 s later, which is at most 120 s after its start.
    """
    kubernetes_log_file_bytes: PositiveInt = 10 << 20
    """`containerLogMaxSize` of the kubelets.

    A log that is shorter was never rotated, so it is not searched for gaps.
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
        """Returns the kubeconfig of each cluster; None means the cluster that this process runs in."""
        parts = (part.partition("=") for part in self.kubeconfigs.split(",") if part.strip())
        return {name.strip(): Path(path.strip()) if path.strip() else None for name, _, path in parts}


class AgentSettings(LogSinkSettings):
    """Settings of the agent on one node of a Kubernetes cluster."""

    database_pool_size: PositiveInt = 2
    """Small, because there are as many agents as nodes."""
    cluster: str = Field(min_length=1)
    """Name of the cluster, as in the settings of its executor."""
    kubeconfig: OptionalPath = None
    """An empty value means the cluster in which the agent runs."""
    kubernetes_namespace: str = "towpath-builds"
    """Namespace of the pods of attempts."""
    agent_node: str = Field(min_length=1)
    """Name of this node."""
    agent_pod_logs: Path = Path("/var/log/pods")
    """Log directory of the kubelet."""
