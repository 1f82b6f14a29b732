"""The grammar in one table: the keys of a pipeline, their values, and the limits.

`load` reads documents with it, and `schema` publishes it. Keys in `later` belong to the language but are
refused by name, because they are not supported yet.
"""

from typing import get_args

from shared.pipeline import globs, templates, values
from shared.pipeline.model import OnNew, PullRequestType
from shared.pipeline.rules import Choice, Flag, FlagOrWord, Integer, List, Record, Switchable, Table, Text

JOB_LIMIT = 100
STEP_LIMIT = 100
NEEDS_LIMIT = JOB_LIMIT
ENV_LIMIT = 100
REPOSITORY_LIMIT = 50
PATTERN_COUNT_LIMIT = 100
CHECKOUT_DEPTH_LIMIT = 1_000_000
TITLE_LIMIT = 200
SERVICE_LIMIT = 20
NODE_SELECTOR_LIMIT = 20
INFRA_RETRY_LIMIT = 10
GROUP_LIMIT = 100
GROUP_NAME_LIMIT = 512
IMAGE_LIMIT = 512
FOLDER_LIMIT = 1024

ON_NEW: tuple[str, ...] = get_args(OnNew)
PULL_REQUEST_TYPES: tuple[str, ...] = get_args(PullRequestType)

_EVENT_IN_ENVIRONMENT = "Event data is in the environment: $TOWPATH_BRANCH, $TOWPATH_SHA, $TOWPATH_EVENT …"

_title = Text("a name on one line", values.title, limit=TITLE_LIMIT)
_duration = Text("a duration such as 20m", values.duration_seconds, values.DURATION)
_pause = Text("a duration of at most 1h such as 10s", values.pause_seconds, values.DURATION)
_image = Text("an image such as python:3.12", values.image, values.IMAGE, IMAGE_LIMIT)
_env = Table(
    "variables, each with its text",
    Text("a variable's name", values.env_name, values.ENV_NAME),
    Text("a variable's text", values.env_value, limit=values.ENV_VALUE_LIMIT_BYTES),
    ENV_LIMIT,
)
_globs = List(
    "globs such as main or release/**",
    Text("a glob", globs.check_glob, limit=globs.PATTERN_LIMIT),
    PATTERN_COUNT_LIMIT,
    may_be_single=True,
    check=globs.check_globs,
)
_resources = Record(
    "an amount of cpu and memory",
    {
        "cpu": Text("an amount of CPU such as 500m", values.cpu_millis, values.CPU),
        "memory": Text("an amount of memory such as 1Gi", values.memory_bytes, values.MEMORY),
    },
)

_push = Record(
    "branches and tags to run for",
    {"branches": _globs, "tags": _globs},
    may_be_blank=True,
    later=("paths",),
    meant={
        "branch": "branches",
        "tag": "tags",
        "branches-ignore": "branches",
        "tags-ignore": "tags",
        "paths-ignore": "paths",
    },
)
_pull_request = Record(
    "base branches and types to run for",
    {
        "branches": _globs,
        "types": List(
            "types of pull request events",
            Choice("a type of pull request event", "bad_pull_request_type", PULL_REQUEST_TYPES),
            len(PULL_REQUEST_TYPES),
            may_be_single=True,
        ),
    },
    may_be_blank=True,
    later=("paths", "forks"),
    meant={"branch": "branches", "branches-ignore": "branches", "paths-ignore": "paths"},
)
_on = Record(
    "at least one event to run for",
    {"push": _push, "pull_request": _pull_request},
    least=1,
    later=("schedule", "manual"),
    meant={
        "workflow_dispatch": "manual",
        "pull_request_target": "pull_request",
        "tag": "push",
        "tags": "push",
        "cron": "schedule",
    },
)

_concurrency = Record(
    "a group of runs, with at least its name in `group`",
    {
        "group": Text("a group's name", templates.template, limit=GROUP_NAME_LIMIT, takes_expressions=True),
        "limit": Integer("how many runs of the group may be under way", 1, GROUP_LIMIT),
        "on_new": Choice("what happens when another run comes", "bad_on_new", ON_NEW),
    },
    required=("group",),
    meant={
        "cancel-in-progress": "on_new",
        "cancel_in_progress": "on_new",
        "name": "group",
        "max": "limit",
        "policy": "on_new",
    },
)

_step = Record(
    "a step, with at least `run`",
    {
        "id": Text("a step's id", values.job_name, values.NAME),
        "name": _title,
        "run": Text(
            "a script",
            values.script,
            limit=values.RUN_LIMIT_BYTES,
            instead_of_expressions=_EVENT_IN_ENVIRONMENT,
        ),
        "env": _env,
        "timeout": _duration,
        "if": Text(
            "a condition",
            values.condition,
            instead_of_expressions="Write success(), failure() or always(), without ${{ }}.",
        ),
        "allow_failure": Flag("true or false"),
        "shell": Choice("a shell", "bad_shell", ("sh", "bash")),
        "working_directory": Text("a folder of the workspace", values.relative_folder, limit=FOLDER_LIMIT),
    },
    required=("run",),
    meant={
        "script": "run",
        "command": "run",
        "commands": "run",
        "timeout-minutes": "timeout",
        "continue-on-error": "allow_failure",
    },
)
_checkout = Record(
    "how to check out",
    {
        "depth": Integer("a number of commits, 0 for all", 0, CHECKOUT_DEPTH_LIMIT),
        "tags": Flag("true or false"),
        "path": Text("a folder of the workspace", values.relative_folder, limit=FOLDER_LIMIT),
        "submodules": FlagOrWord("true, false or recursive", "recursive"),
        "lfs": Flag("true or false"),
    },
    meant={
        "fetch-depth": "depth",
        "fetch-tags": "tags",
        "folder": "path",
        "working_directory": "path",
    },
)
_service = Record(
    "a service container, with at least `image`",
    {
        "image": _image,
        "env": _env,
        "ready": Record(
            "the TCP port that takes connections once the service is ready",
            {"tcp": Integer("a TCP port", 1, 65535), "within": _pause},
            required=("tcp",),
            meant={"port": "tcp", "ports": "tcp", "timeout": "within"},
        ),
    },
    required=("image",),
    meant={
        "environment": "env",
        "variables": "env",
        "ports": "ready",
        "port": "ready",
        "options": "ready",
        "healthcheck": "ready",
        "health_check": "ready",
    },
)
_retry = Record(
    "how often to try again",
    {"infra": Integer("a number of new attempts", 0, INFRA_RETRY_LIMIT), "backoff": _pause},
    later=("script",),
    meant={"max": "infra", "limit": "infra", "attempts": "infra", "delay": "backoff", "wait": "backoff"},
)
_kubernetes = Record(
    "what a node must have",
    {
        "node_selector": Table(
            "labels of a node, each with its value",
            Text("a label's key", values.label_key, values.LABEL_KEY),
            Text("a label's value", values.label_value, values.LABEL_VALUE),
            NODE_SELECTOR_LIMIT,
            1,
        )
    },
    least=1,
    meant={"nodeSelector": "node_selector"},
)
_job = Record(
    "a job, with at least `steps`",
    {
        "image": _image,
        "needs": List("names of jobs", Text("the name of a job"), NEEDS_LIMIT, may_be_single=True),
        "steps": List("a list of steps", _step, STEP_LIMIT),
        "env": _env,
        "timeout": _duration,
        "checkout": Switchable("false, or how to check out", _checkout),
        "resources": _resources,
        "services": Table(
            "service containers by name",
            Text("the name of a service", values.service_name, values.SERVICE_NAME),
            _service,
            SERVICE_LIMIT,
        ),
        "retry": _retry,
        "user": Choice("a user", "bad_user", ("root",)),
        "kubernetes": _kubernetes,
    },
    required=("steps",),
    later=(
        "allow_failure",
        "artifacts",
        "cache",
        "cluster",
        "if",
        "matrix",
        "outputs",
        "secrets",
    ),
    meant={
        "runs-on": "image",
        "container": "image",
        "depends_on": "needs",
        "sidecars": "services",
        "retries": "retry",
        "nodeSelector": "kubernetes",
        "node_selector": "kubernetes",
        "script": "steps",
        "timeout-minutes": "timeout",
        "strategy": "matrix",
        "continue-on-error": "allow_failure",
    },
)

PIPELINE = Record(
    "a pipeline",
    {
        "version": Integer("a version of the language", 1, 1),
        "name": _title,
        "repository": List(
            "a repository such as octo/web, or a list",
            Text("a repository", values.repository, values.REPOSITORY, 201),
            REPOSITORY_LIMIT,
            may_be_single=True,
        ),
        "on": _on,
        "concurrency": _concurrency,
        "env": _env,
        "timeout": _duration,
        "defaults": Record(
            "what jobs have that say nothing else",
            {
                "image": _image,
                "timeout": _duration,
                "resources": _resources,
                "env": _env,
                "checkout": Switchable("false, or how to check out", _checkout),
                "retry": _retry,
            },
        ),
        "jobs": Table("jobs by name", Text("a job's name", values.job_name, values.NAME), _job, JOB_LIMIT, 1),
    },
    required=("version", "repository", "on", "jobs"),
    later=("priority",),
    meant={"run-name": "name", "repositories": "repository"},
)
