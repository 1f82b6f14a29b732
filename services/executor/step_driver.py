"""The step driver: renders the steps of a job as one POSIX `sh` script, the same on every cluster.

The script is tested with dash, bash and busybox ash. Its exit code decides the verdict: 0, or that of the
first step whose failure counts. Its termination file is for display only, because user code can change it.
Users' text enters the script only inside quotes. The script of a step reaches its shell as a file, and its
variables through the environment. The driver itself is passed as descriptor 3, which no step inherits, or as
a file. The driver's own environment then contains nothing of users, whose variables could disturb it.

Signals: each step runs in the foreground, because a shell makes its background processes ignore SIGINT, and
scripts notice that. The driver therefore handles SIGTERM only after the step has ended, and a stop has to
send SIGTERM to every process. As the first process of a container, the driver also reaps orphans: a shell
that waits for a step reaps every other child that ends.

Conditions are expressions that `step_expressions` compiles. SIGTERM, and the end of the job's time, stop the
job. After a stop only `cancelled()` and `always()` are true, and steps with such a condition start in the
rest of the grace period.

Time limits: each step has its own session and process group (`setsid`), so that `kill 0` in a script reaches
only this step. A separate process of the driver enforces the time limit of a step and signals its group. In
an image without `setsid`, `timeout` enforces the limits, and `kill 0` also reaches the driver.

Termination file: a kubelet keeps 4096 bytes of it, and fewer if there are many containers, so the format is
short. It has a line `driver`; a line `<index> <end> <outcome><exit code>` for each step that started, whose
index is written when the step starts; a line `over`; and a line `limit` if the job's time was over. An end is
in hundredths of a second since the driver started. The driver reads it from `/proc/uptime`, because unlike
`date` this needs no process; `-` means that it is not readable. A step starts when the previous step ends. A
line feed precedes each line, to separate it from text that user code may have left.

Output: a step has ended when its output is complete. Output that a script wrote to a filter
(`exec > >(tee build.log)`) may arrive after the script's shell has ended. The driver therefore waits for the
processes that the step left and that have the job's output open: at most 2 seconds for one that reads from a
pipe, half a second for any other, and only once for each. The two outputs of a container are read separately,
which loses the order between them, so an unsupervised driver uses one output for itself and all steps.

User: the image of a container may have no entry for the job's uid in its /etc/passwd. If that file is
writable, the driver adds one. It sets USER and LOGNAME in any case.
"""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from services.executor import step_outputs
from services.executor.driver_functions import PRELUDE
from services.executor.driver_secrets import NO_SECRETS, DriverSecrets
from services.executor.step_expressions import StepCode, StepVariables, compile_step, keep
from shared import step_markers
from shared.expressions.shell import FUNCTIONS
from shared.pipeline.model import Job, Step

STEP_TIMED_OUT_CODE = 124
STOPPED_CODE = 143
STARTED_TWICE_CODE = 97
GRACE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class DriverPaths:
    """The folders of the driver at run time."""

    workspace: str
    state: str
    """Empty and writable. Holds step scripts, variables, outputs and the file `termination`."""


@dataclass(frozen=True, slots=True)
class Unsupervised:
    """Settings of a driver in a container that nothing else prepares or supervises from within."""

    started: str
    """A folder that the driver creates first of all.

    If this fails, the driver exits with STARTED_TWICE_CODE and runs no step.
    """
    home: str
    """Created too, like the folders of DriverPaths. Its .local/bin is the last entry of PATH."""
    termination: str
    """The path of the termination file."""
    limit_seconds: int
    """The time limit of the whole job, counted from the driver's start.

    Its end stops the job, and the exit code is then STEP_TIMED_OUT_CODE.
    """
    grace_seconds: int = GRACE_SECONDS
    """Seconds between SIGTERM and SIGKILL of a step that exceeded its limit or was stopped.

    After the job's limit, all steps that still run have the same time together.
    """


_UNSUPERVISED = r"""
exec 2>&1
if ! mkdir -- "$towpath_started"; then
  printf '%s\n' 'towpath: this attempt can not be started, or was started before: no step is run'
  exit STARTED_TWICE_CODE
fi
mkdir -p -- "$towpath_workspace" "$towpath_state" "$towpath_home"
PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}:$towpath_home/.local/bin
LANG=${LANG:-C.UTF-8}
if ! USER=$(id -un 2> /dev/null); then
  USER=towpath
  if towpath_uid=$(id -u); then
    printf 'towpath:x:%s:%s::%s:/bin/sh\n' "$towpath_uid" "$(id -g)" "$towpath_home" >> /etc/passwd
  fi 2> /dev/null
fi
LOGNAME=$USER
export PATH LANG USER LOGNAME
""".lstrip("\n").replace("STARTED_TWICE_CODE", str(STARTED_TWICE_CODE))

_ENDING = f"""
towpath_note '\\nover'
[ "$towpath_signalled" = no ] || exit {STOPPED_CODE}
[ "$towpath_over" = no ] || {{ towpath_note '\\nlimit'; exit {STEP_TIMED_OUT_CODE}; }}
exit "$towpath_status"
"""


def render(  # noqa: PLR0913 - each is another part of the driver
    job: Job,
    paths: DriverPaths,
    marker_nonce: str,
    environment: Mapping[str, str],
    unsupervised: Unsupervised | None = None,
    *,
    secrets: DriverSecrets = NO_SECRETS,
) -> str:
    """Return the driver of this job. Each of its steps sees the variables of `environment`.

    The variables of `secrets` take precedence over others of the job or the step.

    Raises ValueError for text with NUL, which cannot be passed to a process, and for an expression that
    cannot be evaluated while steps run.
    """
    grace = job.stop_grace_seconds or GRACE_SECONDS if unsupervised is None else unsupervised.grace_seconds
    variables = StepVariables(job)
    codes = [compile_step(job, index, variables) for index in range(1, len(job.steps) + 1)]
    definitions = [
        f"unset {' '.join(variables.all)}",
        FUNCTIONS if any(code.needs_functions for code in codes) else "",
        keep(job, variables),
        secrets.definitions(),
        f"towpath_environment() {{\n:\n{_exports(environment)}{secrets.exports()}}}",
    ]
    if job.outputs:
        definitions.append(f"exec 5> {_quoted(f'{paths.state}/{step_outputs.FILE}')}")
    calls = []
    for index, (step, code) in enumerate(zip(job.steps, codes, strict=True), 1):
        definitions += [
            _script(index, step),
            *_condition(index, code),
            _environment(index, step, code, secrets),
        ]
        definitions.append(_body(index, step, paths.state, grace))
        calls += [_call(index, step, marker_nonce), *_results(index, variables)]
    head = _head(paths, marker_nonce, grace, unsupervised)
    return "\n".join([head, PRELUDE, *definitions, *calls]) + "\n" + _ENDING


def _head(paths: DriverPaths, marker_nonce: str, grace: int, unsupervised: Unsupervised | None) -> str:
    lines = [
        "towpath_signalled=no towpath_stopped=no",
        # comes first: without a handler, the first process of a container does not receive SIGTERM
        "trap 'towpath_signalled=yes towpath_stopped=yes' TERM",
        f"towpath_state={_quoted(paths.state)}",
        f"towpath_workspace={_quoted(paths.workspace)}",
        f"towpath_nonce={_quoted(marker_nonce)}",
        f"towpath_grace={grace}",
    ]
    if unsupervised is None:
        return "\n".join(
            [*lines, f"towpath_termination={_quoted(f'{paths.state}/termination')}", "towpath_limit="]
        )
    lines += [
        f"towpath_termination={_quoted(unsupervised.termination)}",
        f"towpath_limit={unsupervised.limit_seconds}",
        f"towpath_started={_quoted(unsupervised.started)}",
        f"towpath_home={_quoted(unsupervised.home)}",
    ]
    return "\n".join([*lines, _UNSUPERVISED])


def _exports(environment: Mapping[str, str]) -> str:
    return "".join(_export(name, value) for name, value in environment.items())


def _export(name: str, value: str) -> str:
    """Export a variable; TOWPATH_MERGE_SHA only if that commit is the one that was checked out."""
    condition = f'[ "$towpath_head" != {_quoted(value)} ] || ' if name == "TOWPATH_MERGE_SHA" else ""
    return f"{condition}export {_quoted(f'{name}={value}')}\n"


def name_of(step: Step) -> str:
    """Return the name that users see: the step's name, its id, or the beginning of its script."""
    return step_markers.one_line(step.name or step.id or step.run.strip().partition("\n")[0][:60]) or "step"


def _script(index: int, step: Step) -> str:
    return f"towpath_script_{index}() {{ printf '%s\\n' {_quoted(step.run)}; }}"


def _condition(index: int, code: StepCode) -> list[str]:
    if code.reads_environment:
        return [
            f"towpath_condition_{index}() {{ {code.condition}; }}",
            f"towpath_if_{index}() {{ towpath_ask {index}; }}",
        ]
    return [f"towpath_if_{index}() {{ {code.condition}; }}"]


def _environment(index: int, step: Step, code: StepCode, secrets: DriverSecrets) -> str:
    """Export the step's own variables. All expressions are evaluated before any of them is set."""
    values = "".join(f"{commands}\n" for commands, _ in code.values.values())
    plain = {name: value for name, value in step.env.items() if name not in code.values}
    exports = "".join(
        f'export {_quoted(f"{name}=")}"${variable}"\n' for name, (_, variable) in code.values.items()
    )
    return f"towpath_env_{index}() {{\n:\n{values}{_exports(plain)}{secrets.exports(index - 1)}{exports}}}"


def _results(index: int, variables: StepVariables) -> list[str]:
    """Keep what later expressions read of the step that has just ended."""
    kept = ((variables.outcomes, "towpath_result"), (variables.conclusions, "towpath_conclusion"))
    return [f"{names[index]}=${value}" for names, value in kept if index in names]


def _body(index: int, step: Step, state: str, grace_seconds: int) -> str:
    folder = "" if step.working_directory is None else _enter(step.working_directory)
    shell = "bash -eo pipefail" if step.shell == "bash" else "/bin/sh -e"
    file = _quoted(f"{state}/step-{index}")
    become = f'towpath_become "$2" "$1" {grace_seconds} "{step.timeout_seconds or ""}" {shell} {file}'
    return f"towpath_step_{index}() {{\ntowpath_env_{index}\n{folder}{become}\n}}"


def _enter(folder: str) -> str:
    """Enter the folder, or fail with our own message: the shell's message names a line of the driver."""
    error = _quoted(
        f"towpath: working_directory: the workspace has no folder {step_markers.one_line(folder)}"
    )
    return f"cd -- {_quoted(folder)} 2> /dev/null || {{ printf '%s\\n' {error} >&2; exit 1; }}\n"


def _call(index: int, step: Step, marker_nonce: str) -> str:
    marker = _quoted(step_markers.begin(marker_nonce, index, name_of(step)))
    allow = "yes" if step.allow_failure else "no"
    return f'towpath_run {index} {marker} {allow} "{step.timeout_seconds or ""}"'


def _quoted(text: str) -> str:
    if "\0" in text:
        raise ValueError("text with NUL")
    return shlex.quote(text)
