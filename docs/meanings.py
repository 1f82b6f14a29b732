"""The meanings and defaults of the keys of pipelines, for the tables in the documents.

A path of a key leaves out names of the user's choice. Meanings of keys that are not supported yet are here
too.
"""

from collections.abc import Mapping

from shared.expressions import Phase
from shared.pipeline.model import (
    Checkout,
    Concurrency,
    Job,
    Matrix,
    Pipeline,
    PullRequestTrigger,
    Ready,
    Retry,
    Step,
)

TITLES: Mapping[str, str] = {
    "": "A pipeline",
    "on": "`on`",
    "on.push": "`on.push`",
    "on.push.paths": "`paths` of `on.push`",
    "on.pull_request": "`on.pull_request`",
    "on.manual": "`on.manual`",
    "on.manual.inputs": "An input",
    "concurrency": "`concurrency`",
    "jobs": "A job",
    "jobs.matrix": "`matrix`",
    "jobs.steps": "A step",
    "jobs.checkout": "`checkout`",
    "jobs.resources": "`resources`",
    "jobs.services": "A service",
    "jobs.services.ready": "`ready` of a service",
    "jobs.retry": "`retry`",
    "jobs.kubernetes": "`kubernetes`",
}
"""The records of the grammar that have a table, with its title."""

MEANINGS: Mapping[str, str] = {
    "version": "the version of the language",
    "name": "a title for people",
    "repository": "the repositories that it runs for; `*` and `?` are allowed in the name part: `octo/*`",
    "priority": "its jobs queue for slots as if they had waited longer: 5 minutes for each point",
    "on": "[the events that start a run](#when-it-runs)",
    "on.push": "pushes of branches and tags",
    "on.pull_request": "pull requests",
    "on.push.branches": "the branches",
    "on.push.tags": "the tags",
    "on.pull_request.branches": "the base branches",
    "on.pull_request.types": "what happened to the pull request",
    "on.schedule": "runs at fixed times",
    "on.manual": "[runs that users start](#manual-runs)",
    "on.manual.inputs": "values that they choose, by name",
    "on.manual.inputs.type": "`string`, `choice`, `boolean` or `number`",
    "on.manual.inputs.default": "the value of runs that give none",
    "on.manual.inputs.options": "the values of a choice",
    "on.manual.inputs.max_length": "the length of a string",
    "on.manual.inputs.pattern": "a regular expression (RE2) that has to match all of a string",
    "on.push.paths": "[the files](#changed-files) that a push must change; not for tags",
    "on.push.paths.include": "the files that count",
    "on.push.paths.exclude": "files that do not count, though `include` has them",
    "on.pull_request.paths": "[the files](#changed-files) that a pull request must change; not compared yet",
    "on.pull_request.paths.include": "as for pushes",
    "on.pull_request.paths.exclude": "as for pushes",
    "on.pull_request.forks": "[what happens to pull requests from forks](#pull-requests-from-forks)",
    "concurrency": "[a limit for runs at the same time](#runs-at-the-same-time)",
    "concurrency.group": "the group's name",
    "concurrency.limit": "how many runs of the group may be active at once",
    "concurrency.on_new": "what happens when a new run is created",
    "env": "[variables](#variables) of all jobs",
    "timeout": "how long a run may take",
    "defaults": "[values for jobs that do not set these keys](#defaults)",
    "jobs": "the jobs by their keys",
    "jobs.name": "a title for people",
    "jobs.image": "the image of its container",
    "jobs.needs": "[jobs that must end first](#needs-and-conditions)",
    "jobs.if": "[the job is skipped if this is false](#needs-and-conditions)",
    "jobs.allow_failure": "its failure does not count: not for the run, not for the jobs that need it",
    "jobs.matrix": "[the values for which it runs](#matrix)",
    "jobs.steps": "its scripts, in order",
    "jobs.env": "variables of all its steps",
    "jobs.timeout": "how long an attempt may take",
    "jobs.stop_grace": "[the time to clean up](#after-a-stop) after a stop",
    "jobs.checkout": "[what is checked out](#checkout)",
    "jobs.resources": "what its container needs, and may use at most",
    "jobs.services": "[containers beside the job's](#services), by name",
    "jobs.retry": "[new attempts](#trying-again)",
    "jobs.outputs": "[texts for the jobs that need it](#outputs), by name",
    "jobs.user": "[the user](#users-and-nodes) that its container runs as",
    "jobs.kubernetes": "[what its node must have](#users-and-nodes)",
    "jobs.cluster": "[what its cluster must have](#clusters)",
    "jobs.artifacts": "files that are kept",
    "jobs.cache": "files for later runs",
    "jobs.reports": "results of tests",
    "jobs.matrix.*": "an axis: the job runs for each combination of the axes' values",
    "jobs.matrix.include": "more combinations, or more values for some combinations",
    "jobs.matrix.exclude": "combinations that are left out",
    "jobs.matrix.max_parallel": "how many of its jobs may run at once",
    "jobs.matrix.fail_fast": "the other jobs of the matrix are stopped when one fails",
    "jobs.secrets": "[secrets](#secrets) that all steps have as variables, by name",
    "jobs.steps.id": "a name by which [later steps](#from-one-step-to-the-next) and `outputs` refer to it",
    "jobs.steps.name": "a title for people",
    "jobs.steps.run": "the script; it takes [few contexts](expressions.md#scripts)",
    "jobs.steps.env": "variables of this step",
    "jobs.steps.timeout": "how long it may take",
    "jobs.steps.if": "[the step is skipped if this is false](#conditions-of-steps)",
    "jobs.steps.allow_failure": "the job does not fail if this step fails",
    "jobs.steps.shell": "the shell: `sh -e`, or `bash -eo pipefail`",
    "jobs.steps.working_directory": "the folder in which it starts",
    "jobs.checkout.depth": "how many commits of the history are fetched; `0`: all of them",
    "jobs.checkout.tags": "all tags are fetched too",
    "jobs.checkout.path": "a folder of the workspace, which becomes the git repository",
    "jobs.checkout.submodules": "submodules are fetched too",
    "jobs.checkout.lfs": "files of Git LFS are fetched too",
    "jobs.resources.cpu": "CPU time",
    "jobs.resources.memory": "memory; a job that uses more ends with `oom_killed`",
    "jobs.services.image": "the image of its container",
    "jobs.services.env": "its variables; it gets no others",
    "jobs.services.ready": "the steps begin when this port accepts connections",
    "jobs.services.ready.tcp": "the port",
    "jobs.services.ready.within": "how long it may take",
    "jobs.retry.infra": "new attempts after one that the cluster ended",
    "jobs.retry.script": "new attempts after one that the job's own code failed",
    "jobs.retry.backoff": "the pause before the first new attempt; it doubles each time",
    "jobs.kubernetes.node_selector": "labels of the node",
}
"""The meaning of each key, by its path."""


def _of(model: type, field: str) -> str:
    """Return the default of a field of the pipeline's model as it is written in YAML."""
    value = model.model_fields[field].default  # type: ignore[attr-defined]  # all are pydantic models
    if isinstance(value, tuple):
        return f"`[{', '.join(value)}]`"
    return f"`{str(value).lower()}`"


DEFAULTS: Mapping[str, str] = {
    "name": "none",
    "priority": _of(Pipeline, "priority"),
    "on.push": "no pushes",
    "on.pull_request": "no pull requests",
    "on.manual": "none",
    "on.manual.inputs": "none",
    "on.manual.inputs.default": "it has to be given",
    "on.manual.inputs.options": "none; a choice needs them",
    "on.manual.inputs.max_length": "1024",
    "on.manual.inputs.pattern": "any text",
    "on.push.branches": "all, or none if `tags` is set",
    "on.push.tags": "all, or none if `branches` is set",
    "on.pull_request.branches": "all",
    "on.pull_request.types": _of(PullRequestTrigger, "types"),
    "on.push.paths": "all",
    "on.push.paths.include": "all",
    "on.push.paths.exclude": "none",
    "on.pull_request.forks": _of(PullRequestTrigger, "forks"),
    "on.pull_request.paths": "all",
    "on.pull_request.paths.include": "all",
    "on.pull_request.paths.exclude": "none",
    "concurrency": "no limit",
    "concurrency.limit": _of(Concurrency, "limit"),
    "concurrency.on_new": _of(Concurrency, "on_new"),
    "env": "none",
    "timeout": "`6h`, or the longest timeout of a job if that is longer",
    "defaults": "none",
    "jobs.name": "its key",
    "jobs.image": "`defaults`, else the executor's",
    "jobs.needs": "none: it starts at once",
    "jobs.if": "`success()`",
    "jobs.allow_failure": _of(Job, "allow_failure"),
    "jobs.matrix": "none: one job",
    "jobs.env": "`defaults`, else none",
    "jobs.timeout": "`defaults`, else `1h`",
    "jobs.stop_grace": "the administrator's (`TOWPATH_GRACE_SECONDS`)",
    "jobs.checkout": "`defaults`, else the commit alone",
    "jobs.resources": "`defaults`, else the executor's",
    "jobs.services": "none",
    "jobs.retry": "`defaults`, else none",
    "jobs.outputs": "none",
    "jobs.secrets": "none",
    "jobs.user": "an unprivileged user",
    "jobs.kubernetes": "any node",
    "jobs.cluster": "the default cluster",
    "jobs.matrix.include": "none",
    "jobs.matrix.exclude": "none",
    "jobs.matrix.max_parallel": "no limit",
    "jobs.matrix.fail_fast": _of(Matrix, "fail_fast"),
    "jobs.steps.id": "none",
    "jobs.steps.name": "its script",
    "jobs.steps.env": "none",
    "jobs.steps.timeout": "the job's",
    "jobs.steps.if": "`success()`",
    "jobs.steps.allow_failure": _of(Step, "allow_failure"),
    "jobs.steps.shell": _of(Step, "shell"),
    "jobs.steps.working_directory": "the workspace",
    "jobs.checkout.depth": _of(Checkout, "depth"),
    "jobs.checkout.tags": "`true` with `depth: 0`, else `false`",
    "jobs.checkout.path": "the workspace itself",
    "jobs.checkout.submodules": "`false`",
    "jobs.checkout.lfs": "`false`",
    "jobs.resources.cpu": "the executor's",
    "jobs.resources.memory": "the executor's",
    "jobs.services.env": "none",
    "jobs.services.ready": "the steps do not wait",
    "jobs.services.ready.within": f"`{Ready.model_fields['within_seconds'].default}s`",
    "jobs.retry.infra": _of(Retry, "infra"),
    "jobs.retry.script": _of(Retry, "script"),
    "jobs.retry.backoff": f"`{Retry.model_fields['backoff_seconds'].default}s`",
    "jobs.kubernetes.node_selector": "any node",
}
"""The default of each key that is not required, by its path."""

MOMENTS: Mapping[Phase, str] = {
    Phase.SAVE: "when the pipeline is saved",
    Phase.EVENT: "by the scheduler, when the event arrives",
    Phase.READY: "by the scheduler, when the jobs in `needs` have ended",
    Phase.CLAIM: "by the executor, when an attempt of the job starts",
    Phase.STEP: "in the job, just before the step",
}

CONTEXTS: Mapping[str, str] = {
    "event": "[the event](#the-event)",
    "inputs": "the [inputs](#inputs) of the run",
    "matrix": "the values of this job: `matrix.python`",
    "env": "the variables of the [levels above](#the-variables)",
    "run": "only in scripts: `run.id`, `run.number`",
    "job": "only in scripts: `job.key`, `job.name`, `job.attempt`",
    "needs": "the jobs in `needs`: `needs.test.result`, `needs.test.outputs.version`",
    "secrets": "the job's [secrets](pipeline-reference.md#secrets), only in `env` of the job, its steps and "
    "its services: `secrets.DEPLOY_KEY`",
    "steps": "earlier steps with an `id`: `steps.build.outputs.version`, `steps.build.outcome`, "
    "`steps.build.conclusion`",
}

OF_EVENT: Mapping[str, str] = {
    "type": "`push`, `tag`, `pull_request` or `manual`",
    "action": "of a pull request: `opened`, `synchronize`, `reopened` or `closed`",
    "repository": "`owner/name`",
    "ref": "`refs/heads/main`, `refs/tags/v1`, `refs/pull/12`; each branch, tag and pull request has its own",
    "branch": "the branch of a push; empty for tags and pull requests",
    "head_branch": "the source branch of a pull request",
    "base_branch": "the target branch of a pull request",
    "tag": "the tag",
    "sha": "the commit: of a pull request the head of its branch",
    "before_sha": "the commit before the push",
    "pull_request": "the number of the pull request",
    "title": "the title of the pull request",
    "message": "the message of the head commit",
    "sender": "the user who pushed or changed the pull request",
    "trusted": "false if the code may come from somebody without write access",
    "forced": "true for a forced push",
}

FUNCTIONS: Mapping[str, tuple[str, str]] = {
    "contains": (
        "contains(text, part)",
        "true if the text has this part, or the list has this element; without case",
    ),
    "startsWith": ("startsWith(text, part)", "true if the text begins with the part; without case"),
    "endsWith": ("endsWith(text, part)", "true if the text ends with the part; without case"),
    "format": ("format('{0}-{1}', a, b)", "the text with the values; `{{` and `}}` are braces"),
    "join": ("join(list, ', ')", "the elements as one text; without a second argument, with commas"),
    "toJSON": ("toJSON(value)", "the value as JSON"),
    "success": (
        "success()",
        "true if nothing has failed, and nothing was stopped",
    ),
    "failure": ("failure()", "true if something has failed"),
    "always": ("always()", "true"),
    "cancelled": ("cancelled()", "only in steps: true after a cancel or the job's timeout"),
}

_DOCUMENT = """\
version: 1
repository: octo/web
on: {{ push: {{}} }}
jobs:
  test:
    {0}
    steps:
      - run: {1}
"""

BAD_KEY = (_DOCUMENT.format("stps: []", "make"),)
"""A document with an unknown key."""

BAD_DOCUMENTS = (
    _DOCUMENT.format("matrix: { python: ['3.11', '3.12'] }\n    image: python:${{ matrix.pyton }}", "make"),
    _DOCUMENT.format("if: event.branch == main", "make"),
    _DOCUMENT.format("timeout: ${{ steps.setup.outputs.minutes }}m", "make"),
    _DOCUMENT.format("image: python:3.12", "echo ${{ event.title }}"),
)
"""Documents with a mistake, whose errors are shown as examples."""
