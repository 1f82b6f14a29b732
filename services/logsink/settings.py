"""Settings of the log sink."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from shared.settings import ServiceSettings


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
    """How often a stream is looked at that nothing wakes: only for what no event tells, such as a killed supervisor."""
    log_quiet_seconds: PositiveFloat = 0.02
    """From the first line of a quiet stream to its commit: a short job's lines and its end make one commit."""
    log_flow_seconds: PositiveFloat = 0.05
    """Between the commits of a stream whose lines flow. All streams keep the same beat, so that they share commits."""
    log_waiting_bytes: PositiveInt = 16 << 20
    """Compressed segments that wait for their commit; with more, nothing is read."""
    log_stream_waiting_bytes: PositiveInt = 4 << 20
    """The same for one stream, so that one alone never fills the whole."""
    log_silence_seconds: PositiveFloat = 86_400
    """A source that has not answered for so long after its attempt was over is sealed with a gap. Clusters come back after hours; after a day nobody waits."""
    log_retention_seconds: PositiveFloat = 60
    """How often segments of expired runs are looked for."""
