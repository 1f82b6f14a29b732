"""The grammar in one table: the keys of a pipeline, their values, and the limits.

`load` reads documents with it, and `schema` publishes it. Keys in `later` belong to the language but are
refused by name, because they are not supported yet.
"""

from dataclasses import replace
from typing import get_args

from shared.expressions import Phase
from shared.pipeline import globs, inputs, values
from shared.pipeline.compound_rules import List, ListOrRecord, Record, Switchable, Table
from shared.pipeline.model import ForkPolicy, InputType, OnNew, PullRequestType
from shared.pipeline.rules import Choice, Condition, Flag, FlagOrWord, Integer, Rule, Text, Value

JOB_LIMIT = 100
STEP_LIMIT = 100
NEEDS_LIMIT = JOB_LIMIT
ENV_LIMIT = 100
REPOSITORY_LIMIT = 50
PATTERN_COUNT_LIMIT = 100
CHECKOUT_DEPTH_LIMIT = 1_000_000
TITLE_LIMIT = 200
SERVICE_LIMIT = 20
SELECTOR_LIMIT = 20
RETRY_LIMIT = 10
OUTPUT_LIMIT = 50
SECRET_LIMIT = 50
AXIS_LIMIT = 10
AXIS_VALUE_LIMIT = JOB_LIMIT
PRIORITIES = range(-10, 10 + 1)
GROUP_LIMIT = 100
GROUP_NAME_LIMIT = 512
IMAGE_LIMIT = 512
FOLDER_LIMIT = 1024
INPUT_LIMIT = 20
OPTION_LIMIT = 50

FORK_POLICIES: tuple[str, ...] = get_args(ForkPolicy)
ON_NEW: tuple[str, ...] = get_args(OnNew)
PULL_REQUEST_TYPES: tuple[str, ...] = get_args(PullRequestType)
INPUT_TYPES: tuple[str, ...] = get_args(InputType)

STATIC = frozenset({"matrix", "run", "job"})
"""The contexts of scripts. Other values reach a script as variables, so that no text becomes a command."""
OF_EVENT = frozenset({"event", "inputs"})
"""The contexts of values that all jobs of a pipeline share."""

_title = Text("a name on one line", values.title, limit=TITLE_LIMIT)
_duration = Text("a duration such as 20m", values.duration_seconds, values.DURATION)
_pause = Text("a duration of at most 1h such as 10s", values.pause_seconds, values.DURATION)
_stop_grace = Text("a duration of at most 5m such as 30s", values.stop_grace_seconds, values.DURATION)
_image = Text("an image such as python:3.12", values.image, values.IMAGE, IMAGE_LIMIT)
_ENV_VALUE = Text("a variable's text", values.env_value, limit=values.ENV_VALUE_LIMIT_BYTES)
_env = Table(
    "variables, each with its text",
    Text("a variable's name", values.env_name, values.ENV_NAME),
    _ENV_VALUE,
    ENV_LIMIT,
)
_resources = Record(
    "an amount of cpu and memory",
    {
        "cpu": Text("an amount of CPU such as 500m", values.cpu_millis, values.CPU, phase=Phase.READY),
        "memory": Text(
            "an amount of memory such as 1Gi", values.memory_bytes, values.MEMORY, phase=Phase.READY
        ),
    },
)


def _later(text: Text, phase: Phase) -> Text:
    """Return the rule for values with expressions that are evaluated in this phase."""
    return replace(text, phase=phase)


def _env_of(phase: Phase, only: frozenset[str] | None = None) -> Table:
    return replace(_env, value=replace(_ENV_VALUE, phase=phase, only=only))


def _labels_of(what: str) -> Table:
    return Table(
        f"labels of {what}, each with its value",
        Text("a label's key", values.label_key, values.LABEL_KEY),
        Text("a label's value", values.label_value, values.LABEL_VALUE, phase=Phase.READY),
        SELECTOR_LIMIT,
        1,
    )


_globs = List(
    "globs such as main or release/**",
    Text("a glob", globs.check_glob, limit=globs.PATTERN_LIMIT),
    PATTERN_COUNT_LIMIT,
    may_be_single=True,
    check=globs.check_globs,
)

_path_globs = replace(
    _globs,
    what="globs of files such as src/** or **/*.py",
    item=Text("a glob of files", globs.check_path_glob, limit=globs.PATTERN_LIMIT),
)
_paths = ListOrRecord(
    "globs of files: a list, or `include` and `exclude`",
    "include",
    Record(
        "globs of files that count, or that do not count",
        {"include": _path_globs, "exclude": _path_globs},
        least=1,
        meant={"ignore": "exclude", "paths-ignore": "exclude", "paths": "include", "only": "include"},
    ),
)

_push = Record(
    "branches, tags and files to run for",
    {"branches": _globs, "tags": _globs, "paths": _paths},
    may_be_blank=True,
    meant={
        "branch": "branches",
        "tag": "tags",
        "branches-ignore": "branches",
        "tags-ignore": "tags",
        "paths-ignore": "paths",
    },
)
_pull_request = Record(
    "base branches, files and types to run for",
    {
        "branches": _globs,
        "types": List(
            "types of pull request events",
            Choice("a type of pull request event", "bad_pull_request_type", PULL_REQUEST_TYPES),
            len(PULL_REQUEST_TYPES),
            may_be_single=True,
        ),
        "paths": _paths,
        "forks": Choice("what happens to pull requests from forks", "bad_forks", FORK_POLICIES),
    },
    may_be_blank=True,
    meant={"branch": "branches", "branches-ignore": "branches", "paths-ignore": "paths"},
)
_input = Record(
    "an input, with at least `type`",
    {
        "type": Choice("a type of input", "bad_input_type", INPUT_TYPES),
        "default": Value("a text, number, true or false", limit=inputs.LENGTH_LIMIT),
        "options": List("options", Text("an option", limit=inputs.LENGTH_LIMIT), OPTION_LIMIT),
        "max_length": Integer("a number of characters", 1, inputs.LENGTH_LIMIT),
        "pattern": Text("a regular expression", inputs.pattern, limit=inputs.PATTERN_LIMIT),
    },
    required=("type",),
    meant={"choices": "options", "values": "options", "length": "max_length", "regex": "pattern"},
)
_manual = Record(
    "inputs of runs that users start",
    {
        "inputs": Table(
            "inputs by name",
            Text("the name of an input", values.input_name, values.AXIS_NAME),
            _input,
            INPUT_LIMIT,
        )
    },
    may_be_blank=True,
    meant={"parameters": "inputs", "variables": "inputs"},
)
_on = Record(
    "at least one event to run for",
    {"push": _push, "pull_request": _pull_request, "manual": _manual},
    least=1,
    later=("schedule",),
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
        "group": Text(
            "a group's name",
            values.group_name,
            limit=GROUP_NAME_LIMIT,
            phase=Phase.EVENT,
            only=OF_EVENT,
            is_template=True,
        ),
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
        "name": _later(_title, Phase.READY),
        "run": Text("a script", values.script, limit=values.RUN_LIMIT_BYTES, phase=Phase.READY, only=STATIC),
        "env": _env_of(Phase.STEP),
        "timeout": _later(_duration, Phase.READY),
        "if": Condition("a condition", Phase.STEP),
        "allow_failure": Flag("true or false", Phase.READY),
        "shell": Choice("a shell", "bad_shell", ("sh", "bash")),
        "working_directory": Text(
            "a folder of the workspace", values.relative_folder, limit=FOLDER_LIMIT, phase=Phase.READY
        ),
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
        "image": _later(_image, Phase.READY),
        "env": _env_of(Phase.CLAIM),
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
    {
        "infra": Integer("a number of new attempts", 0, RETRY_LIMIT),
        "script": Integer("a number of new attempts", 0, RETRY_LIMIT),
        "backoff": _pause,
    },
    meant={"max": "infra", "limit": "infra", "attempts": "infra", "delay": "backoff", "wait": "backoff"},
)
_kubernetes = Record(
    "what a node must have",
    {
        "node_selector": _labels_of("a node"),
    },
    least=1,
    meant={"nodeSelector": "node_selector"},
)
_AXIS_NAME = Text("the name of an axis", values.axis_name, values.AXIS_NAME)
MATRIX_VALUE = Value("a text, number, true or false", phase=Phase.EVENT, only=OF_EVENT | {"env"})
_combinations = List(
    "combinations of values",
    Table("values by the name of their axis", _AXIS_NAME, MATRIX_VALUE, AXIS_LIMIT, 1),
    JOB_LIMIT,
)
_matrix = Record(
    "the values for which the job runs, by the name of their axis",
    {
        "include": _combinations,
        "exclude": _combinations,
        "max_parallel": Integer("how many jobs of the matrix may run at once", 1, JOB_LIMIT),
        "fail_fast": Flag("true or false"),
    },
    least=1,
    meant={"max-parallel": "max_parallel", "fail-fast": "fail_fast"},
    others=Table(
        "axes",
        _AXIS_NAME,
        List("the values of an axis", MATRIX_VALUE, AXIS_VALUE_LIMIT),
        AXIS_LIMIT,
    ),
)
_job = Record(
    "a job, with at least `steps`",
    {
        "name": _later(_title, Phase.EVENT),
        "image": _later(_image, Phase.READY),
        "needs": List("names of jobs", Text("the name of a job"), NEEDS_LIMIT, may_be_single=True),
        "if": Condition("a condition", Phase.READY),
        "allow_failure": Flag("true or false", Phase.READY),
        "matrix": _matrix,
        "steps": List("a list of steps", _step, STEP_LIMIT),
        "env": _env_of(Phase.CLAIM),
        "secrets": List(
            "names of secrets",
            Text("the name of a secret", values.secret_name, values.SECRET_NAME),
            SECRET_LIMIT,
            may_be_single=True,
        ),
        "timeout": _later(_duration, Phase.READY),
        "stop_grace": _later(_stop_grace, Phase.READY),
        "checkout": Switchable("false, or how to check out", _checkout),
        "resources": _resources,
        "services": Table(
            "service containers by name",
            Text("the name of a service", values.service_name, values.SERVICE_NAME),
            _service,
            SERVICE_LIMIT,
        ),
        "retry": _retry,
        "outputs": Table(
            "outputs by name",
            Text("the name of an output", values.output_name, values.OUTPUT_NAME),
            Text(
                "the text of an output",
                values.env_value,
                limit=values.ENV_VALUE_LIMIT_BYTES,
                phase=Phase.STEP,
                is_template=True,
            ),
            OUTPUT_LIMIT,
        ),
        "user": Choice("a user", "bad_user", ("root",), Phase.READY),
        "kubernetes": _kubernetes,
        "cluster": _labels_of("a cluster"),
    },
    required=("steps",),
    later=("artifacts", "cache", "reports"),
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
        "priority": Integer(
            "a priority", PRIORITIES.start, PRIORITIES.stop - 1, phase=Phase.EVENT, only=OF_EVENT
        ),
        "on": _on,
        "concurrency": _concurrency,
        "env": _env_of(Phase.EVENT, OF_EVENT),
        "timeout": _duration,
        "defaults": Record(
            "what jobs have that say nothing else",
            {
                "image": _later(_image, Phase.READY),
                "timeout": _later(_duration, Phase.READY),
                "resources": _resources,
                "env": _env_of(Phase.READY),
                "checkout": Switchable("false, or how to check out", _checkout),
                "retry": _retry,
            },
        ),
        "jobs": Table("jobs by name", Text("a job's name", values.job_name, values.NAME), _job, JOB_LIMIT, 1),
    },
    required=("version", "repository", "on", "jobs"),
    meant={"run-name": "name", "repositories": "repository"},
    free="x-",
)

JOB: Rule = _job
"""The rule of one job, for values that are known only after a pipeline was saved."""
