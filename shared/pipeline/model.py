"""The pipeline model that the services use: complete, with defaults applied and units in the names.

Pipelines are stored as JSON and read back unchanged. Readers ignore unknown fields, and fields that are added
later have a default, so stored revisions stay readable.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    field_serializer,
    model_validator,
)

DEFAULT_JOB_TIMEOUT_SECONDS = 3600
"""A job that hangs frees its slot within an hour."""
DEFAULT_RUN_TIMEOUT_SECONDS = 6 * 3600
"""The limit that users know from GitHub. The default is longer if the timeout of a job is longer."""

PullRequestType = Literal["opened", "synchronize", "reopened", "closed"]
ForkPolicy = Literal["approve", "run", "ignore"]
OnNew = Literal["queue", "cancel_older", "keep_latest_pending", "reject"]
Shell = Literal["sh", "bash"]


_WITH_SECRETS = "with_secrets"

STEP_CONDITION_WORDS = frozenset({"success", "failure", "always", "cancelled"})
"""The conditions of steps that are stored as a word: the status function of this name."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class PathFilter(_Model):
    """The changed files that count: those that `include` admits and `exclude` does not.

    An empty `include` admits all files.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


class PushTrigger(_Model):
    """The pushes that start a run.

    If both fields are None, all branches and tags match. If one is None, only the other field matches: with
    `tags` alone, no push of a branch starts a run. `paths` filters pushes of branches only.
    """

    branches: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    paths: PathFilter | None = None


class PullRequestTrigger(_Model):
    """The pull requests that start a run. `branches` are base branches; None matches all.

    `forks` decides about pull requests whose code comes from somebody without write access to the repository.
    """

    branches: tuple[str, ...] | None = None
    types: tuple[PullRequestType, ...] = ("opened", "synchronize", "reopened")
    paths: PathFilter | None = None
    forks: ForkPolicy = "approve"


class MatrixValue(_Model):
    """A scalar of a matrix as written. Its kind decides how expressions compare it: `3.10` equals `3.1`."""

    text: str
    kind: Literal["text", "integer", "float", "boolean"] = "text"


def _from_pairs(stored: Any) -> Any:
    return stored if isinstance(stored, Mapping) else dict(stored)


V = TypeVar("V")
Ordered = Annotated[
    dict[str, V],
    BeforeValidator(_from_pairs),
    PlainSerializer(lambda values: list(values.items()), when_used="json"),
]
"""Values by name, stored as a list of pairs: `jsonb` does not keep the order of names."""
Combination = Ordered[MatrixValue]


InputType = Literal["string", "choice", "boolean", "number"]


class Input(_Model):
    """A value that the starter of a run may choose. Without a default it has to be given.

    `options` are those of a choice. `max_length` and `pattern`, which has to match all of the text, are
    limits of a string.
    """

    type: InputType
    default: MatrixValue | None = None
    options: tuple[str, ...] = ()
    max_length: int = 1024
    pattern: str | None = None


class ManualTrigger(_Model):
    """Users may start runs, with these inputs. Runs of other events have the inputs' defaults."""

    inputs: Ordered[Input] = {}


class Triggers(_Model):
    """The events that start a run. A kind of event that is None starts nothing."""

    push: PushTrigger | None = None
    pull_request: PullRequestTrigger | None = None
    manual: ManualTrigger | None = None


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
    """The number of new attempts that may follow an attempt that did not succeed.

    `infra` counts attempts that the cluster ended, `script` those that failed by the job's own code.
    """

    infra: int = 0
    script: int = 0
    backoff_seconds: int = 10


class Matrix(_Model):
    """The values for which a job runs, once for each combination.

    `fail_fast` stops the other jobs of the matrix when one fails. At most `max_parallel` of them run at once.
    A job of a run has only these two; its values are in `Job.matrix_values`.
    """

    axes: Ordered[tuple[MatrixValue, ...]] = {}
    include: tuple[Combination, ...] = ()
    exclude: tuple[Combination, ...] = ()
    fail_fast: bool = True
    max_parallel: int | None = None


class Step(_Model):
    """One command.

    `condition` is an expression, or one of the words `success`, `failure`, `always` and `cancelled`, which
    stand for the function of this name. For it, a step with `allow_failure` never counts as failed.
    """

    id: str | None = None
    name: str | None = None
    run: str
    env: dict[str, str] = {}
    timeout_seconds: int | None = None
    condition: str = "success"
    allow_failure: bool = False
    shell: Shell = "sh"
    working_directory: str | None = None


class Job(_Model):
    """A job of a pipeline, or of a run.

    `id` is its key in the document, `key` identifies it in a run, and `name` is its title. They differ for
    the jobs of a matrix. `needs` has ids.

    A field whose value has expressions has its default, and `templates` has the text by the field's path
    below the job in the document, such as `image` or `steps.0.env.LEVEL`. `condition` is the job's `if`;
    None is `success()`. `contexts` has what the expressions need that are evaluated after the run was
    created.

    `secrets` are the names of secrets that all steps have as variables. The JSON of a job with secrets has
    its steps below the key `with_secrets`. A release that knows no secrets can't read that, so it does not
    run the job without them.

    `env` includes that of `defaults`; it takes precedence over the pipeline's. `image` None selects the
    executor's default. `checkout` None gives an empty workspace. `services` are reached by their names.
    `user` None selects a user without privileges. `user` and `node_selector` are requests: the executor's
    administrator decides which are allowed. `cluster` has the labels of the clusters that may run the job;
    empty selects the default cluster. `stop_grace_seconds` is the time between SIGTERM and SIGKILL; None
    selects the executor's default.
    """

    id: str = ""
    key: str = ""
    name: str
    image: str | None = None
    needs: tuple[str, ...] = ()
    condition: str | None = None
    allow_failure: bool = False
    matrix: Matrix | None = None
    matrix_values: Combination = {}
    steps: tuple[Step, ...]
    env: dict[str, str] = {}
    timeout_seconds: int = DEFAULT_JOB_TIMEOUT_SECONDS
    stop_grace_seconds: int | None = None
    checkout: Checkout | None = Checkout()
    resources: Resources = Resources()
    services: dict[str, Service] = {}
    retry: Retry = Retry()
    outputs: dict[str, str] = {}
    secrets: tuple[str, ...] = ()
    user: Literal["root"] | None = None
    node_selector: dict[str, str] = {}
    cluster: dict[str, str] = {}
    templates: dict[str, str] = {}
    contexts: dict[str, Any] = {}

    @model_validator(mode="before")
    @classmethod
    def _with_key(cls, values: Any) -> Any:
        """Fill `id` and `key` of jobs that have none: they equal the name. Read the steps of secret jobs."""
        if isinstance(values, dict) and "name" in values:
            steps = {"steps": plain_steps(values["steps"])} if "steps" in values else {}
            return {"id": values["name"], "key": values["name"], **values, **steps}
        return values

    @field_serializer("steps", mode="wrap", when_used="json")
    def _guarded_steps(self, steps: tuple[Step, ...], to_json: SerializerFunctionWrapHandler) -> Any:
        return {_WITH_SECRETS: to_json(steps)} if self.secrets else to_json(steps)


def plain_steps(stored: Any) -> Any:
    """Return the steps of a job's JSON without the key around those of a job with secrets."""
    return stored[_WITH_SECRETS] if isinstance(stored, dict) and _WITH_SECRETS in stored else stored


class Pipeline(_Model):
    """A pipeline. `jobs` are in the order of the document, and their needs have no cycle.

    `timeout_seconds` is the timeout of the run. `templates` is as for jobs, with paths such as `env.LEVEL`,
    `priority` and `concurrency.group`.
    """

    version: int
    name: str | None = None
    repositories: tuple[str, ...]
    on: Triggers
    priority: int = 0
    concurrency: Concurrency | None = None
    env: dict[str, str] = {}
    timeout_seconds: int = DEFAULT_RUN_TIMEOUT_SECONDS
    jobs: tuple[Job, ...]
    templates: dict[str, str] = {}

    @property
    def inputs(self) -> Mapping[str, Input]:
        """The definitions of its inputs by name."""
        return {} if self.on.manual is None else self.on.manual.inputs
