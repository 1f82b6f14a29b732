"""The step driver: a job's steps as one POSIX `sh` script, the same on every cluster (tried with dash, bash and busybox ash).

Its exit code is the verdict: 0, or that of the first step whose failure counts. What it writes to its termination file is for display: user code can
change it. Text of users enters the script only inside quotes; a step's script reaches its shell as a file, its variables through the environment. The driver
itself may come as descriptor 3, which no step inherits: its own environment then holds nothing of users, whose variables could disturb it.

Each step runs in the foreground, for a shell makes its background processes ignore SIGINT, and scripts notice. So the driver hears SIGTERM only when
the step has ended, and whoever stops a job sends it to every process. After SIGTERM no further step begins.

The termination file has a line a fact, with instants in seconds since boot (`/proc/uptime`: readable without starting a process, unlike `date`):
`driver <at>`, then for each step `begin <index> <at>` and `end <index> <outcome> <exit code> <at>`, or `skip <index>`.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shared import step_markers
from shared.pipeline.model import Step

STEP_TIMED_OUT_CODE = 124
STOPPED_CODE = 143


@dataclass(frozen=True, slots=True)
class DriverPaths:
    """Where the driver finds its folders when it runs."""

    workspace: str
    state: str
    """Empty and writable; step scripts, variables, outputs and `termination` go there."""


_PRELUDE = r"""
towpath_failed=no
towpath_stopped=no
towpath_status=0
trap 'towpath_stopped=yes' TERM
TOWPATH_ENV="$towpath_state/env"
export TOWPATH_ENV

towpath_now() {
  towpath_at=
  { read -r towpath_at towpath_idle < /proc/uptime; } 2>/dev/null
}

towpath_note() {
  printf '%s\n' "$*" >> "$towpath_state/termination"
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

# $1 seconds (empty: none), then the command: becomes it, with that time limit.
towpath_become() {
  towpath_limit=$1
  shift
  [ -n "$towpath_limit" ] || exec "$@"
  if command -v timeout > /dev/null 2>&1; then exec timeout -k 10 "$towpath_limit" "$@"; fi
  printf '%s\n' 'towpath: no timeout command here: only the limit of the whole job is kept'
  exec "$@"
}

# $1 its limit, $2 when it began, $3 when it ended: whether its exit code may come from its limit.
towpath_over() {
  case $towpath_code in 124 | 137 | 143) ;; *) return 1 ;; esac
  [ -n "$1" ] || return 1
  if [ -z "$2" ] || [ -z "$3" ]; then [ "$towpath_code" = 124 ]; else [ "$((${3%%.*} - ${2%%.*}))" -ge "$1" ]; fi
}

# $1 index, $2 marker line, $3 condition, $4 allow_failure, $5 its limit.
towpath_run() {
  case $towpath_stopped-$3-$towpath_failed in
    yes-* | no-success-yes | no-failure-no) towpath_note skip "$1"; return ;;
  esac
  printf '%s\n' "$2"
  "towpath_script_$1" > "$towpath_state/step-$1"
  towpath_now
  towpath_began=$towpath_at
  towpath_note begin "$1" "$towpath_began"
  (
    TOWPATH_OUTPUT="$towpath_state/output-$1"
    export TOWPATH_OUTPUT
    exec 3<&-
    towpath_environment
    towpath_load || exit 1
    "towpath_step_$1"
  )
  towpath_code=$?
  if [ "$towpath_code" = 0 ] && [ -s "$TOWPATH_ENV" ]; then (exec 3<&-; towpath_load) || towpath_code=1; fi
  towpath_now
  if [ "$towpath_stopped" = yes ]; then
    towpath_outcome=stopped
  elif [ "$towpath_code" = 0 ]; then
    towpath_outcome=success
  elif towpath_over "$5" "$towpath_began" "$towpath_at"; then
    towpath_outcome=timed_out towpath_code=124
  else
    towpath_outcome=failed
  fi
  printf '::towpath-%s::end %s %s\n' "$towpath_nonce" "$1" "$towpath_code"
  towpath_note end "$1" "$towpath_outcome" "$towpath_code" "$towpath_at"
  if [ "$towpath_code" != 0 ] && [ "$4" = no ]; then
    [ "$towpath_failed" = yes ] || towpath_status=$towpath_code
    towpath_failed=yes
  fi
}

towpath_now
towpath_note driver "$towpath_at"
cd -- "$towpath_workspace" || exit 1
""".lstrip("\n")

_ENDING = f"""
[ "$towpath_stopped" = no ] || exit {STOPPED_CODE}
exit "$towpath_status"
"""


def render(steps: Sequence[Step], paths: DriverPaths, marker_nonce: str, environment: Mapping[str, str]) -> str:
    """The driver of a job with these steps, each of which sees these variables. Raises ValueError for text with NUL, which no process can take."""
    head = [
        f"towpath_state={_quoted(paths.state)}",
        f"towpath_workspace={_quoted(paths.workspace)}",
        f"towpath_nonce={_quoted(marker_nonce)}",
    ]
    definitions = [f"towpath_environment() {{\n:\n{_exports(environment)}}}"]
    definitions += [text for index, step in enumerate(steps, 1) for text in (_script(index, step), _body(index, step, paths))]
    calls = [_call(index, step, marker_nonce) for index, step in enumerate(steps, 1)]
    return "\n".join([*head, _PRELUDE, *definitions, *calls]) + "\n" + _ENDING


def _exports(environment: Mapping[str, str]) -> str:
    return "".join(f"export {_quoted(f'{name}={value}')}\n" for name, value in environment.items())


def name_of(step: Step) -> str:
    """What people see: its name, its id, or the beginning of its script."""
    return step_markers.one_line(step.name or step.id or step.run.strip().partition("\n")[0][:60]) or "step"


def _script(index: int, step: Step) -> str:
    return f"towpath_script_{index}() {{ printf '%s\\n' {_quoted(step.run)}; }}"


def _body(index: int, step: Step, paths: DriverPaths) -> str:
    folder = "" if step.working_directory is None else f"cd -- {_quoted(step.working_directory)} || exit 1\n"
    shell = "bash" if step.shell == "bash" else "/bin/sh"
    become = f'towpath_become "{step.timeout_seconds or ""}" {shell} -e {_quoted(f"{paths.state}/step-{index}")}'
    return f"towpath_step_{index}() {{\n{_exports(step.env)}{folder}{become}\n}}"


def _call(index: int, step: Step, marker_nonce: str) -> str:
    marker = _quoted(step_markers.begin(marker_nonce, index, name_of(step)))
    allow = "yes" if step.allow_failure else "no"
    return f'towpath_run {index} {marker} {step.condition} {allow} "{step.timeout_seconds or ""}"'


def _quoted(text: str) -> str:
    if "\0" in text:
        raise ValueError("text with NUL")
    return shlex.quote(text)
