"""The pipeline model that the services use: complete, with defaults applied and units in the names.

Pipelines are stored as JSON and read back unchanged. Readers ignore unknown fields, and fields that are added
later have a default, so stored revisions stay readable.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from shared.pipeline.values import Condition

DEFAULT_JOB_TIMEOUT_SECONDS = 3600
"""A job that hangs frees its slot within an hour."""
DEFAULT_RUN_TIMEOUT_SECONDS = 6 * 3600
"""The limit that users know from GitHub. The default is longer if the timeout of a job is longer."""

PullRequestType = Literal["opened", "synchronize", "reopened", "closed"]
OnNew = Literal["queue", "cancel_older", "keep_latest_pending", "reject"]
Shell = Literal["sh", "bash"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class PushTrigger(_Model):
    """The pushes that start a run.

    If both fields are None, all branches and tags match. If one is None, only the other field matches: with
    `tags` alone, no push of a branch starts a run.
    """

    branches: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None


class PullRequestTrigger(_Model):
    """The pull requests that start a run. `branches` are base branches; None matches all."""

    branches: tuple[str, ...] | None = None
    types: tuple[PullRequestType, ...] = ("opened", "synchronize", "reopened")


class Triggers(_Model):
    """The events that start a run. A kind of event that is None starts nothing."""

    push: PushTrigger | None = None
    pull_request: PullRequestTrigger | None = None


class Concurrency(_Model):
    """A limit for concurrent runs. At most `limit` runs of a group are in progress in a repository.

    `group` is a template. `on_new` decides about a new run: it waits for its turn (`queue`), stops all older
    runs (`cancel_older`), stops the waiting runs (`keep_latest_pending`), or is stopped itself if no place is
    free (`reject`).
    """

    group: str
    limit: int = 1
    on_new: OnNew = "queue"


class Checkout(_Model):
    """The history that is fetched, and its folder. `depth` counts commits; 0 fetches the whole history.

    The depth starts at the commit that is built. `tags` fetches all tags too. `path` is a folder of the
    workspace; None is the workspace itself. `submodules` fetches the submodules, or also theirs.
    `lfs` fetches the files of git LFS.
    """

    depth: int = 1
    tags: bool = False
    path: str | None = None
    submodules: bool | Literal["recursive"] = False
    lfs: bool = False


class Resources(_Model):
    """The CPU and memory of a job, as request and as limit. None selects the executor's default."""

    cpu_millis: int | None = None
    memory_bytes: int | None = None


class Ready(_Model):
    """A service is ready when its TCP port accepts connections.

    It fails if that does not happen within `within_seconds`.
    """

    tcp: int
    within_seconds: int = 60


class Service(_Model):
    """A container that runs beside the job's container for the duration of the job.

    If `ready` is None, the job's steps do not wait for it.
    """

    image: str
    env: dict[str, str] = {}
    ready: Ready | None = None


class Retry(_Model):
    """`infra` is the number of new attempts if the cluster, not user code, ended an attempt."""

    infra: int = 0
    backoff_seconds: int = 10


class Step(_Model):
    """One command.

    `condition` depends on the results of earlier steps. For it, a step with `allow_failure` never counts as
    failed.
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
    """A node of the graph.

    `env` includes that of `defaults`; it takes precedence over the pipeline's. `image` None selects the
    executor's default. `checkout` None gives an empty workspace. `services` are reached by their names.
    `user` None selects a user without privileges. `user` and `node_selector` are requests: the executor's
    administrator decides which are allowed.
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
    """A pipeline. `jobs` are in the order of the document, and their needs have no cycle.

    `timeout_seconds` is the timeout of the run.
    """

    version: int
    name: str | None = None
    repositories: tuple[str, ...]
    on: Triggers
    concurrency: Concurrency | None = None
    env: dict[str, str] = {}
    timeout_seconds: int = DEFAULT_RUN_TIMEOUT_SECONDS
    jobs: tuple[Job, ...]
