"""The step driver: a job's steps as one POSIX `sh` script, the same on every cluster (tried with dash, bash and busybox ash).

Its exit code is the verdict: 0, or that of the first step whose failure counts. What it writes to its termination file is for display: user code can
change it. Text of users enters the script only inside quotes; a step's script reaches its shell as a file, its variables through the environment. The driver
itself may come as descriptor 3, which no step inherits, or as a file: its own environment then holds nothing of users, whose variables could disturb it.

Each step runs in the foreground, for a shell makes its background processes ignore SIGINT, and scripts notice. So the driver hears SIGTERM only when
the step has ended, and whoever stops a job sends it to every process. After SIGTERM no further step begins. As the first process of a container it also
reaps what others left: a shell that waits for a step takes every end that it is told of.

Of the termination file a kubelet keeps 4096 bytes, and fewer where there are many containers, so it is terse: a line `driver`, for each step that began
`<index> <end> <outcome><exit code>`, of which the index is written when it begins, at last `over`, and `limit` where the job's time was. Ends are in
hundredths of a second since the driver began (from `/proc/uptime`: readable without starting a process, unlike `date`; `-` where it is not), and a step
begins where the one before it ended. A line feed stands before each line: behind what user code may have left.

A step has ended when its output is complete. What a script wrote to a filter (`exec > >(tee build.log)`) may
still be on its way when the script's shell ends, so the driver waits for the processes that the step left and
that have the job's output open: at most 2 seconds for one that reads from a pipe, half a second for another,
and once for each.

A container's two outputs are read apart, and what comes by both at once loses its order, so where it is unsupervised the driver and all steps have one.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    """A folder that it makes before all else. Where that fails it ends with STARTED_TWICE_CODE and runs no step."""
    home: str
    """Made as well, like the folders of DriverPaths; its .local/bin is where PATH ends."""
    termination: str
    """The termination file."""
    limit_seconds: int
    """Of the whole job, from the driver's start. When it is over no step begins, and the exit code is STEP_TIMED_OUT_CODE."""
    grace_seconds: int = GRACE_SECONDS
    """Between the SIGTERM and the SIGKILL of a step over its limit, or stopped."""


_UNSUPERVISED = r"""
exec 2>&1
if ! mkdir -- "$towpath_started"; then
  printf '%s\n' 'towpath: this attempt can not be started, or was started before: no step is run'
  exit STARTED_TWICE_CODE
fi
mkdir -p -- "$towpath_workspace" "$towpath_state" "$towpath_home"
PATH=${PATH:-/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin}:$towpath_home/.local/bin
LANG=${LANG:-C.UTF-8}
export PATH LANG
""".lstrip("\n").replace("STARTED_TWICE_CODE", str(STARTED_TWICE_CODE))

_PRELUDE = r"""
towpath_failed=no
towpath_over=no
towpath_status=0
towpath_origin=
towpath_known=" $$ $PPID "
TOWPATH_ENV="$towpath_state/env"
export TOWPATH_ENV

# Sets towpath_at.
towpath_now() {
  towpath_at=-
  { read -r towpath_uptime towpath_idle < /proc/uptime; } 2>/dev/null
  case $towpath_uptime in
    *[!0-9.]* | *.*.*) return ;;
    [0-9]*.[0-9][0-9]) towpath_uptime=$((${towpath_uptime%.*} * 100 + 1${towpath_uptime#*.} - 100)) ;;
    *) return ;;
  esac
  towpath_at=$((towpath_uptime - ${towpath_origin:-$towpath_uptime}))
  towpath_origin=${towpath_origin:-$towpath_uptime}
}

towpath_note() {
  printf "$@" >> "$towpath_termination"
}

towpath_refuse() {
  printf 'towpath: TOWPATH_ENV: %s\n' "$1"
  return 1
}

# Exports what steps wrote to $TOWPATH_ENV: KEY=value lines, and KEY<<WORD, lines, WORD.
towpath_load() {
  [ -e "$TOWPATH_ENV" ] || return 0
  while IFS= read -r towpath_line || [ -n "$towpath_line" ]; do
    [ -n "$towpath_line" ] || continue
    case ${towpath_line%%=*} in
      *'<<'*)
        towpath_key=${towpath_line%%'<<'*} towpath_word=${towpath_line#*'<<'} towpath_value= towpath_break= towpath_closed=no
        while IFS= read -r towpath_line || [ -n "$towpath_line" ]; do
          if [ "$towpath_line" = "$towpath_word" ]; then towpath_closed=yes; break; fi
          towpath_value=$towpath_value$towpath_break$towpath_line
          towpath_break='
'
        done
        [ "$towpath_closed" = yes ] || towpath_refuse "the line $towpath_word that ends $towpath_key is missing" || return 1 ;;
      *)
        case $towpath_line in
          *=*) towpath_key=${towpath_line%%=*} towpath_value=${towpath_line#*=} ;;
          *) towpath_refuse "neither KEY=value nor KEY<<WORD: $towpath_line" || return 1 ;;
        esac ;;
    esac
    case $towpath_key in
      '' | [0-9]* | *[!A-Za-z0-9_]*) towpath_refuse "not a variable's name: $towpath_key" || return 1 ;;
      TOWPATH_* | towpath_*) towpath_refuse "reserved: $towpath_key" || return 1 ;;
    esac
    export "$towpath_key=$towpath_value"
  done < "$TOWPATH_ENV"
}

# $1 seconds (empty: none), $2 the grace after SIGTERM, $3 the step's own limit, then the command: becomes it, with that time limit.
towpath_become() {
  if [ -n "$1" ] && command -v timeout > /dev/null 2>&1; then
    towpath_limit=$1 towpath_grace=$2
    shift 3
    exec timeout -k "$towpath_grace" "$towpath_limit" "$@"
  fi
  [ -z "$3" ] || printf '%s\n' 'towpath: no timeout command here: only the limit of the whole job is kept'
  shift 3
  exec "$@"
}

# $1 the step's own limit (empty: none). Sets towpath_allowed, the seconds that it may take; fails where the job's time is over.
towpath_allow() {
  towpath_allowed=$1 towpath_least=step
  [ -n "$towpath_limit" ] || return 0
  towpath_left=$towpath_limit
  [ "$towpath_at" = - ] || towpath_left=$((towpath_limit - towpath_at / 100))
  [ "$towpath_left" -gt 0 ] || return 1
  if [ -z "$1" ] || [ "$towpath_left" -le "$1" ]; then towpath_allowed=$towpath_left towpath_least=job; fi
}

# $1 when the step began: whether its exit code may come from its limit.
towpath_timed_out() {
  case $towpath_code in 124 | 137 | 143) ;; *) return 1 ;; esac
  [ -n "$towpath_allowed" ] || return 1
  if [ "$1" = - ] || [ "$towpath_at" = - ]; then [ "$towpath_code" = 124 ]; else [ "$((towpath_at - $1 + 1))" -ge "$((towpath_allowed * 100))" ]; fi
}

# Sets towpath_left: the processes that have the job's output open, but for those that are known.
# Sets towpath_moment: how many hundredths of a second they have, more where one of them reads from a pipe.
towpath_find_left() {
  towpath_left= towpath_moment=50
  for towpath_process in /proc/[1-9]*; do
    case $towpath_known in *" ${towpath_process#/proc/} "*) continue ;; esac
    [ "$towpath_process/fd/1" -ef /proc/$$/fd/1 ] || [ "$towpath_process/fd/2" -ef /proc/$$/fd/1 ] || continue
    towpath_left="$towpath_left${towpath_process#/proc/} "
    [ ! -p "$towpath_process/fd/0" ] || towpath_moment=200
  done
}

# Waits for what a step left behind it. Where no clock can be read, a round counts as 2 hundredths of a second.
towpath_drain() {
  towpath_now
  towpath_drained=0 towpath_ended=$towpath_at
  while towpath_find_left; [ -n "$towpath_left" ]; do
    [ "$towpath_drained" -lt "$towpath_moment" ] || break
    sleep 0.02 2> /dev/null || break
    towpath_now
    towpath_drained=$((towpath_drained + 2))
    [ "$towpath_at" = - ] || towpath_drained=$((towpath_at - towpath_ended))
  done
  towpath_known="$towpath_known$towpath_left"
}

# $1 index, $2 its limit. Sets towpath_code. In the step's shell only $1 and $2 can be relied on: variables are the user's there.
towpath_try() {
  (
    TOWPATH_OUTPUT="$towpath_state/output-$1"
    export TOWPATH_OUTPUT
    exec 3<&-
    towpath_environment
    towpath_load || exit 1
    "towpath_step_$1" "$2"
  )
  towpath_code=$?
  if [ "$towpath_code" = 0 ] && [ -s "$TOWPATH_ENV" ]; then (exec 3<&-; towpath_load) || towpath_code=1; fi
}

# $1 index, $2 marker line, $3 condition, $4 allow_failure, $5 its limit.
towpath_run() {
  case $towpath_stopped-$towpath_over-$3-$towpath_failed in
    yes-* | no-yes-* | no-no-success-yes | no-no-failure-no) return ;;
  esac
  towpath_now
  towpath_allow "$5" || { towpath_over=yes; return; }
  printf '%s\n' "$2"
  "towpath_script_$1" > "$towpath_state/step-$1"
  towpath_note '\n%s ' "$1"
  towpath_began=$towpath_at
  towpath_try "$1" "$towpath_allowed"
  towpath_now
  if [ "$towpath_stopped" = yes ]; then
    towpath_outcome=x
  elif [ "$towpath_code" = 0 ]; then
    towpath_outcome=s
  elif towpath_timed_out "$towpath_began"; then
    towpath_outcome=t towpath_code=124
    [ "$towpath_least" = step ] || towpath_over=yes
  else
    towpath_outcome=f
  fi
  towpath_drain
  towpath_now
  printf '::towpath-%s::end %s %s %s\n' "$towpath_nonce" "$1" "$towpath_code" "$towpath_outcome"
  towpath_note '%s %s%s' "$towpath_at" "$towpath_outcome" "$towpath_code"
  if [ "$towpath_code" != 0 ] && [ "$4" = no ]; then
    [ "$towpath_failed" = yes ] || towpath_status=$towpath_code
    towpath_failed=yes
  fi
}

towpath_now
towpath_note '\ndriver'
cd -- "$towpath_workspace" || exit 1
""".lstrip("\n")

_ENDING = f"""
towpath_note '\\nover'
[ "$towpath_stopped" = no ] || exit {STOPPED_CODE}
[ "$towpath_over" = no ] || {{ towpath_note '\\nlimit'; exit {STEP_TIMED_OUT_CODE}; }}
exit "$towpath_status"
"""


def render(steps: Sequence[Step], paths: DriverPaths, marker_nonce: str, environment: Mapping[str, str], unsupervised: Unsupervised | None = None) -> str:
    """The driver of a job with these steps, each of which sees these variables. Raises ValueError for text with NUL, which no process can take."""
    grace = GRACE_SECONDS if unsupervised is None else unsupervised.grace_seconds
    definitions = [f"towpath_environment() {{\n:\n{_exports(environment)}}}"]
    definitions += [text for index, step in enumerate(steps, 1) for text in (_script(index, step), _body(index, step, paths.state, grace))]
    calls = [_call(index, step, marker_nonce) for index, step in enumerate(steps, 1)]
    return "\n".join([_head(paths, marker_nonce, unsupervised), _PRELUDE, *definitions, *calls]) + "\n" + _ENDING


def _head(paths: DriverPaths, marker_nonce: str, unsupervised: Unsupervised | None) -> str:
    lines = [
        "towpath_stopped=no",
        "trap 'towpath_stopped=yes' TERM",  # first of all: the first process of a container would not hear it otherwise
        f"towpath_state={_quoted(paths.state)}",
        f"towpath_workspace={_quoted(paths.workspace)}",
        f"towpath_nonce={_quoted(marker_nonce)}",
    ]
    if unsupervised is None:
        return "\n".join([*lines, f"towpath_termination={_quoted(f'{paths.state}/termination')}", "towpath_limit="])
    lines += [
        f"towpath_termination={_quoted(unsupervised.termination)}",
        f"towpath_limit={unsupervised.limit_seconds}",
        f"towpath_started={_quoted(unsupervised.started)}",
        f"towpath_home={_quoted(unsupervised.home)}",
    ]
    return "\n".join([*lines, _UNSUPERVISED])


def _exports(environment: Mapping[str, str]) -> str:
    return "".join(f"export {_quoted(f'{name}={value}')}\n" for name, value in environment.items())


def name_of(step: Step) -> str:
    """What people see: its name, its id, or the beginning of its script."""
    return step_markers.one_line(step.name or step.id or step.run.strip().partition("\n")[0][:60]) or "step"


def _script(index: int, step: Step) -> str:
    return f"towpath_script_{index}() {{ printf '%s\\n' {_quoted(step.run)}; }}"


def _body(index: int, step: Step, state: str, grace_seconds: int) -> str:
    folder = "" if step.working_directory is None else f"cd -- {_quoted(step.working_directory)} || exit 1\n"
    shell = "bash" if step.shell == "bash" else "/bin/sh"
    become = f'towpath_become "$1" {grace_seconds} "{step.timeout_seconds or ""}" {shell} -e {_quoted(f"{state}/step-{index}")}'
    return f"towpath_step_{index}() {{\n{_exports(step.env)}{folder}{become}\n}}"


def _call(index: int, step: Step, marker_nonce: str) -> str:
    marker = _quoted(step_markers.begin(marker_nonce, index, name_of(step)))
    allow = "yes" if step.allow_failure else "no"
    return f'towpath_run {index} {marker} {step.condition} {allow} "{step.timeout_seconds or ""}"'


def _quoted(text: str) -> str:
    if "\0" in text:
        raise ValueError("text with NUL")
    return shlex.quote(text)
