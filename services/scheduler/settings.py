"""The scheduler's settings."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from shared.settings import ServiceSettings


class SchedulerSettings(ServiceSettings):
    """Settings of the scheduler, read from the environment as `TOWPATH_` plus the field's name."""

    database_plan_cache_mode: Literal["auto", "force_generic_plan"] = "force_generic_plan"
    global_limit: PositiveInt = 64
    """Slots of all repositories together: the number of attempts that may be under way at once."""
    repository_limit: PositiveInt = 32
    """Slots of one repository. Half of `global_limit`, so that one repository cannot block the others."""
    cluster: str = Field(default="local", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """Name of the cluster whose executor runs the attempts."""
    backend: Literal["local", "kubernetes"] = "local"
    """The kind of that cluster, as the executor's. `local` runs no code of forks."""
    approval_seconds: PositiveFloat = 7 * 24 * 3600
    """Seconds in which a run of a fork can be approved. A week has a working day for everybody."""
    pattern_steps: PositiveInt = 50_000
    """Steps of glob matching that one event may cost each owner, over all pipelines of that owner.

    Comparing a glob with a name takes as many steps as both have characters. Each `?` and `[…]` in the glob
    adds the number of characters of the name. The default allows 250 pipelines of one repository with five
    globs of ten characters each, which takes at most about 50 ms. Further pipelines are skipped with this
    reason; older pipelines are compared first.
    """
    delivery_batch: PositiveInt = 128
    """Maximum number of messages decided in one transaction. A commit costs as much as about ten deliveries.
    """
    fact_batch: PositiveInt = 128
    """Maximum number of messages about attempts folded in one transaction."""
    linger_seconds: float = Field(default=0.05, ge=0, le=1)
    """Minimum time between the starts of two transactions while deliveries or facts keep arriving.

    This delay applies only to a busy system. An idle one starts at once.
    """
    deadline_grace_seconds: PositiveFloat = Field(default=30)
    """Time after the database came back during which no deadline is judged.

    Attempts that ended during the outage must be reported first.
    """
