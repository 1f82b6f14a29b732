"""A pipeline as the services use it: complete, with defaults applied and units in the names.

It is stored as JSON and read back as it was.

Readers ignore fields they do not know, and a field that is added later has a default, so that stored
revisions stay readable.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from shared.pipeline.values import Condition

DEFAULT_JOB_TIMEOUT_SECONDS = 3600
"""A job that hangs frees its slot within the hour."""
DEFAULT_RUN_TIMEOUT_SECONDS = 6 * 3600
"""What people know from GitHub; longer where a single job asks for more."""

PullRequestType = Literal["opened", "synchronize", "reopened", "closed"]
OnNew = Literal["queue", "cancel_older", "keep_latest_pending", "reject"]
Shell = Literal["sh", "bash"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class PushTrigger(_Model):
    """Which pushes start a run.

    Both None: every branch and every tag. One None: what the other names alone, so a tag push is matched by
    `tags` only.
    """

    branches: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None


class PullRequestTrigger(_Model):
    """Which pull requests start a run; `branches` are base branches, None means every one."""

    branches: tuple[str, ...] | None = None
    types: tuple[PullRequestType, ...] = ("opened", "synchronize", "reopened")


class Triggers(_Model):
    """None: that kind of event starts nothing."""

    push: PushTrigger | None = None
    pull_request: PullRequestTrigger | None = None


class Concurrency(_Model):
    """Of the runs with this group in a repository at most `limit` are under way. `group` is a template.

    A run that comes waits for its turn (`queue`), stops all older ones (`cancel_older`) or those that wait
    (`keep_latest_pending`), or is stopped itself where no place is free (`reject`).
    """

    group: str
    limit: int = 1
    on_new: OnNew = "queue"


class Checkout(_Model):
    """How much is fetched. `depth` counts commits, from the one that is built; 0 is the whole history.

    `tags`: whether all tags are fetched too.
    """

    depth: int = 1
    tags: bool = False


class Resources(_Model):
    """Requested and granted alike. None: the executor's default."""

    cpu_millis: int | None = None
    memory_bytes: int | None = None


class Ready(_Model):
    """A service is ready when its TCP port takes connections; after `within_seconds` without that it has
    failed.
    """

    tcp: int
    within_seconds: int = 60


class Service(_Model):
    """A container beside the job's for as long as the job runs.

    `ready` None: the job's steps do not wait for it.
    """

    image: str
    env: dict[str, str] = {}
    ready: Ready | None = None


class Retry(_Model):
    """`infra` counts the new attempts after the first when the cluster, not the user's code, ended one."""

    infra: int = 0
    backoff_seconds: int = 10


class Step(_Model):
    """One command.

    `condition` looks at the steps before it; a step with `allow_failure` never counts as failed there.
    """

    id: str | None = None
    name: str | None = None
    run: str
    env: dict[str, str] = {}
    timeout_seconds: int | None = None
    condition: Condition = "success"
    allow_failure: bool = False
    shell: Shell = "sh"
    working_directory: str | None = None


class Job(_Model):
    """A node of the graph. `env` is the job's own; the pipeline's lies beneath it.

    `image` None: the executor's default. `checkout` None: an empty workspace. `services` are reached by their
    names. `user` None: one without rights. `user` and `node_selector` are wishes: the executor's
    administrator says what is allowed.
    """

    name: str
    image: str | None = None
    needs: tuple[str, ...] = ()
    steps: tuple[Step, ...]
    env: dict[str, str] = {}
    timeout_seconds: int = DEFAULT_JOB_TIMEOUT_SECONDS
    checkout: Checkout | None = Checkout()
    resources: Resources = Resources()
    services: dict[str, Service] = {}
    retry: Retry = Retry()
    user: Literal["root"] | None = None
    node_selector: dict[str, str] = {}


class Pipeline(_Model):
    """`jobs` stand in the order of the document, and their needs make no cycle.

    `timeout_seconds` is the run's.
    """

    version: int
    name: str | None = None
    repositories: tuple[str, ...]
    on: Triggers
    concurrency: Concurrency | None = None
    env: dict[str, str] = {}
    timeout_seconds: int = DEFAULT_RUN_TIMEOUT_SECONDS
    jobs: tuple[Job, ...]
