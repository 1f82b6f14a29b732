"""The step driver: a job's steps as one POSIX `sh` script, the same on every cluster (tried with dash, bash
and busybox ash).

Its exit code is the verdict: 0, or that of the first step whose failure counts. What it writes to its
termination file is for display: user code can change it. Text of users enters the script only inside quotes;
a step's script reaches its shell as a file, its variables through the environment. The driver itself may come
as descriptor 3, which no step inherits, or as a file: its own environment then holds nothing of users, whose
variables could disturb it.

Each step runs in the foreground, for a shell makes its background processes ignore SIGINT, and scripts
notice. So the driver hears SIGTERM only when the step has ended, and whoever stops a job sends it to every
process. After SIGTERM, and after the end of the job's time, only steps with `always()` begin, in what is left
of the grace. As the first process of a container it also reaps what others left: a shell that waits for a
step takes every end that it is told of.

Each step has a session and a process group of its own (`setsid`), so that `kill 0` in a script reaches the
step alone. A process of the driver's own keeps the time limit of a step and signals its group. An image
without `setsid` has its limits kept by `timeout`, and `kill 0` reaches the driver there.

Of the termination file a kubelet keeps 4096 bytes, and fewer where there are many containers, so it is terse:
a line `driver`, for each step that began `<index> <end> <outcome><exit code>`, of which the index is written
when it begins, at last `over`, and `limit` where the job's time was. Ends are in hundredths of a second since
the driver began (from `/proc/uptime`: readable without starting a process, unlike `date`; `-` where it is
not), and a step begins where the one before it ended. A line feed stands before each line: behind what user
code may have left.

A step has ended when its output is complete. What a script wrote to a filter (`exec > >(tee build.log)`) may
still be on its way when the script's shell ends, so the driver waits for the processes that the step left and
that have the job's output open: at most 2 seconds for one that reads from a pipe, half a second for another,
and once for each.

A container's image may have no entry for the job's uid in its /etc/passwd. Where that file can be written the
driver adds one; USER and LOGNAME are set in any case.

A container's two outputs are read apart, and what comes by both at once loses its order, so where it is
unsupervised the driver and all steps have one.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.executor.driver_functions import PRELUDE
from shared import step_markers
from shared.pipeline.model import Step

STEP_TIMED_OUT_CODE = 124
STOPPED_CODE = 143
STARTED_TWICE_CODE = 97
GRACE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class DriverPaths:
    """Where the driver finds its folders when it runs."""

    workspace: str
    state: str
    """Empty and writable; step scripts, variables, outputs and `termination` go there."""


@dataclass(frozen=True, slots=True)
class Unsupervised:
    """What the driver sees to itself in a container that nobody else prepares and watches from within."""

    started: str
    """A folder that it makes before all else.

    Where that fails it ends with STARTED_TWICE_CODE and runs no step.
    """
    home: str
    """Made as well, like the folders of DriverPaths; its .local/bin is where PATH ends."""
    termination: str
    """The termination file."""
    limit_seconds: int
    """Of the whole job, from the driver's start.

    When it is over only steps with `always()` begin, and the exit code is STEP_TIMED_OUT_CODE.
    """
    grace_seconds: int = GRACE_SECONDS
    """Between the SIGTERM and the SIGKILL of a step over its limit, or stopped.

    Steps with `always()` have as long after the job's limit.
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
[ "$towpath_stopped" = no ] || exit {STOPPED_CODE}
[ "$towpath_over" = no ] || {{ towpath_note '\\nlimit'; exit {STEP_TIMED_OUT_CODE}; }}
exit "$towpath_status"
"""


def render(
    steps: Sequence[Step],
    paths: DriverPaths,
    marker_nonce: str,
    environment: Mapping[str, str],
    unsupervised: Unsupervised | None = None,
) -> str:
    """The driver of a job with these steps, each of which sees these variables.

    Raises ValueError for text with NUL, which no process can take.
    """
    grace = GRACE_SECONDS if unsupervised is None else unsupervised.grace_seconds
    definitions = [f"towpath_environment() {{\n:\n{_exports(environment)}}}"]
    definitions += [
        text
        for index, step in enumerate(steps, 1)
        for text in (_script(index, step), _body(index, step, paths.state, grace))
    ]
    calls = [_call(index, step, marker_nonce) for index, step in enumerate(steps, 1)]
    head = _head(paths, marker_nonce, grace, unsupervised)
    return "\n".join([head, PRELUDE, *definitions, *calls]) + "\n" + _ENDING


def _head(paths: DriverPaths, marker_nonce: str, grace: int, unsupervised: Unsupervised | None) -> str:
    lines = [
        "towpath_stopped=no",
        # first of all: the first process of a container would not hear it otherwise
        "trap 'towpath_stopped=yes' TERM",
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
    """The merge of a pull request is exported only where it is what was checked out."""
    condition = f'[ "$towpath_head" != {_quoted(value)} ] || ' if name == "TOWPATH_MERGE_SHA" else ""
    return f"{condition}export {_quoted(f'{name}={value}')}\n"


def name_of(step: Step) -> str:
    """What people see: its name, its id, or the beginning of its script."""
    return step_markers.one_line(step.name or step.id or step.run.strip().partition("\n")[0][:60]) or "step"


def _script(index: int, step: Step) -> str:
    return f"towpath_script_{index}() {{ printf '%s\\n' {_quoted(step.run)}; }}"


def _body(index: int, step: Step, state: str, grace_seconds: int) -> str:
    folder = "" if step.working_directory is None else _enter(step.working_directory)
    shell = "bash -eo pipefail" if step.shell == "bash" else "/bin/sh -e"
    file = _quoted(f"{state}/step-{index}")
    become = f'towpath_become "$2" "$1" {grace_seconds} "{step.timeout_seconds or ""}" {shell} {file}'
    return f"towpath_step_{index}() {{\n{_exports(step.env)}{folder}{become}\n}}"


def _enter(folder: str) -> str:
    """The error is ours: a shell's names a line of the driver."""
    error = _quoted(
        f"towpath: working_directory: the workspace has no folder {step_markers.one_line(folder)}"
    )
    return f"cd -- {_quoted(folder)} 2> /dev/null || {{ printf '%s\\n' {error} >&2; exit 1; }}\n"


def _call(index: int, step: Step, marker_nonce: str) -> str:
    marker = _quoted(step_markers.begin(marker_nonce, index, name_of(step)))
    allow = "yes" if step.allow_failure else "no"
    return f'towpath_run {index} {marker} {step.condition} {allow} "{step.timeout_seconds or ""}"'


def _quoted(text: str) -> str:
    if "\0" in text:
        raise ValueError("text with NUL")
    return shlex.quote(text)
