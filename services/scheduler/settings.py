"""The scheduler's settings."""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from shared.settings import ServiceSettings


class SchedulerSettings(ServiceSettings):
    """Read from the environment as TOWPATH_ + the field's name."""

    database_plan_cache_mode: Literal["auto", "force_generic_plan"] = "force_generic_plan"
    global_limit: PositiveInt = 64
    """Slots over all repositories: attempts that may be under way at once."""
    repository_limit: PositiveInt = 32
    """Slots of one repository; half of all, so that one repository alone can't hold up the others."""
    cluster: str = Field(default="local", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    """The cluster whose executor gets the attempts."""
    pattern_steps: PositiveInt = 50_000
    """Steps of comparing globs, over all pipelines of one owner, that one event may take.

    A glob takes as many steps as it and the name that it is compared with have characters; each `?` and `[…]`
    in it takes the name's characters again. That is 250 pipelines of one repository with five globs of ten
    characters each, and takes at most about 50 ms. Pipelines beyond it are skipped, with this reason; the
    older ones come first.
    """
    delivery_batch: PositiveInt = 128
    """Messages decided in one transaction. A commit costs as much as the work for some ten deliveries."""
    fact_batch: PositiveInt = 128
    """Messages about attempts folded in one transaction."""
    beat_seconds: float = Field(default=0.05, ge=0, le=1)
    """While deliveries or facts flow, transactions begin so far apart.

    It is the price in delay of a busy system; an idle one does not wait.
    """
    deadline_grace_seconds: PositiveFloat = Field(default=30)
    """No deadline is judged for so long after the database came back: what ended meanwhile has to arrive
    first.
    """
