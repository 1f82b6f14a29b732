"""The shell functions of the step driver, in POSIX `sh`. `step_driver` describes how they work together.

They read variables that `step_driver` sets before them, and call functions that it writes for each job:
`towpath_environment` and `towpath_keep`, and for each step `towpath_script_<index>`, `towpath_if_<index>`,
`towpath_env_<index>` and `towpath_step_<index>`.
"""

PRELUDE = r"""
towpath_failed=no
towpath_over=no
towpath_status=0
towpath_origin=
towpath_known=" $$ $PPID "
towpath_setsid=
if command -v sleep > /dev/null 2>&1; then towpath_setsid=$(command -v setsid); fi
towpath_sets=

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

# $1 the variable that names a file, $2 what is wrong with the file.
towpath_refuse() {
  printf 'towpath: %s: %s\n' "$1" "$2"
  return 3
}

# $1 to $3 others' arguments, then files: exports what steps wrote to them.
towpath_load() {
  shift 3
  for towpath_file do towpath_read TOWPATH_ENV "$towpath_file" towpath_export || return; done
}

# $1 the variable that names a file, $2 the file. Sets towpath_file: the file if a step wrote to it, else
# empty. Fails where it is not a file.
towpath_find() {
  towpath_file=
  [ -e "$2" ] || return 0
  [ -f "$2" ] || towpath_refuse "$1" 'not a file' || return
  [ ! -s "$2" ] || towpath_file=$2
}

# $1 the index of a step that has ended. Fails where its file for variables is malformed, or where no process
# could start with them and all others: none of them is loaded then.
towpath_check() {
  towpath_find TOWPATH_ENV "$towpath_state/env-$1" || return
  [ -n "$towpath_file" ] || return 0
  (
    exec 3<&- 5>&-
    towpath_environment
    set -- "$1" '' ''
    for towpath_set in $towpath_sets "$1"; do set -- "$@" "$towpath_state/env-$towpath_set"; done
    towpath_load "$@" || exit
    exec /bin/sh -c :
  ) 2> /dev/null
  case $? in
    0) towpath_sets="$towpath_sets $1" ;;
    3) return 1 ;;
    126) towpath_refuse TOWPATH_ENV 'a variable is longer than 128 KiB, or all are too long together' ;;
    *) towpath_refuse TOWPATH_ENV 'it can not be read, or holds a value that the shell refuses' ;;
  esac
}

# $1 the index of a step that has ended: keeps its outputs. Fails where its file for them is malformed, and
# keeps none of them then.
towpath_collect() {
  towpath_find TOWPATH_OUTPUT "$towpath_state/output-$1" || return
  [ -n "$towpath_file" ] || return 0
  towpath_index=$1
  towpath_read TOWPATH_OUTPUT "$towpath_file" towpath_check_output
  case $? in
    0) towpath_read TOWPATH_OUTPUT "$towpath_file" towpath_keep ;;
    3) return 1 ;;
    *) towpath_refuse TOWPATH_OUTPUT 'it can not be read' ;;
  esac
}

# $1 the variable that names a file, $2 the file, $3 a function that is called with name and value of
# each entry: KEY=value lines, and KEY<<WORD, lines, WORD. Returns 3 if the file is malformed.
towpath_read() {
  while IFS= read -r towpath_line || [ -n "$towpath_line" ]; do
    [ -n "$towpath_line" ] || continue
    case ${towpath_line%%=*} in
      *'<<'*)
        towpath_key=${towpath_line%%'<<'*} towpath_word=${towpath_line#*'<<'}
        towpath_value= towpath_break= towpath_closed=no
        [ -n "$towpath_word" ] || towpath_refuse "$1" "no word follows $towpath_key<<" || return
        while IFS= read -r towpath_line || [ -n "$towpath_line" ]; do
          if [ "$towpath_line" = "$towpath_word" ]; then towpath_closed=yes; break; fi
          towpath_value=$towpath_value$towpath_break$towpath_line
          towpath_break='
'
        done
        [ "$towpath_closed" = yes ] ||
          towpath_refuse "$1" "the line $towpath_word that ends $towpath_key is missing" || return ;;
      *)
        case $towpath_line in
          *=*) towpath_key=${towpath_line%%=*} towpath_value=${towpath_line#*=} ;;
          *) towpath_refuse "$1" "neither KEY=value nor KEY<<WORD: $towpath_line" || return ;;
        esac ;;
    esac
    "$3" "$towpath_key" "$towpath_value" || return
  done < "$2"
}

# $1 a name, $2 a value: exports this variable. Returns 3 if steps may not set it.
towpath_export() {
  case $1 in
    '' | [0-9]* | *[!A-Za-z0-9_]*) towpath_refuse TOWPATH_ENV "not a variable's name: $1" || return ;;
    TOWPATH_* | towpath_*) towpath_refuse TOWPATH_ENV "reserved: $1" || return ;;
    BASHOPTS | BASH_VERSINFO | EUID | PPID | SHELLOPTS | UID)
      towpath_refuse TOWPATH_ENV "bash sets $1 itself and lets nobody else" || return ;;
  esac
  case $1=$2 in
    OPTIND= | OPTIND=*[!0-9]*)
      towpath_refuse TOWPATH_ENV 'OPTIND takes a number, or no shell starts' || return ;;
  esac
  export "$1=$2"
}

# $1 the name of an output. Returns 3 if it is none.
towpath_check_output() {
  case $1 in
    '' | [!A-Za-z_]* | *[!A-Za-z0-9_-]*) towpath_refuse TOWPATH_OUTPUT "not an output's name: $1" ;;
  esac
}

# $1 the seconds that a step has. Signals its group when they are over; ends with 124 then. SIGUSR1 ends it,
# also at its very beginning: SIGTERM would be lost until a shell has replaced the handler that it inherits.
towpath_watch() {
  trap 'kill "$!"; exit 0' USR1
  sleep "$1" &
  wait "$!"
  trap 'kill "$!"; exit 124' USR1
  read -r towpath_group < "$towpath_state/group"
  kill -TERM "-$towpath_group"
  sleep "$towpath_grace" &
  wait "$!"
  kill -KILL "-$towpath_group"
  exit 124
}

# Ends the watch over a step. Sets towpath_expired.
towpath_end_watch() {
  towpath_expired=no
  [ -n "$towpath_watch" ] || return 0
  kill -USR1 "$towpath_watch"
  wait "$towpath_watch"
  [ "$?" != 124 ] || towpath_expired=yes
}

# $1 setsid (empty: there is none), $2 seconds (empty: no limit), $3 the grace after SIGTERM, $4 the step's
# own limit, then the command: becomes it, in a group of its own, or without one and with that time limit.
towpath_become() {
  if [ -n "$1" ]; then
    towpath_setsid=$1
    shift 4
    exec "$towpath_setsid" "$@"
  fi
  shift
  if [ -n "$1" ] && command -v timeout > /dev/null 2>&1; then
    towpath_limit=$1 towpath_grace=$2
    shift 3
    exec timeout -k "$towpath_grace" "$towpath_limit" "$@"
  fi
  [ -z "$3" ] || printf '%s\n' 'towpath: no timeout command here: only the limit of the whole job is kept'
  shift 3
  exec "$@"
}

# $1 the step's own limit (empty: none). Sets towpath_allowed, the seconds that it may take; fails where the
# job's time is over.
towpath_allow() {
  towpath_allowed=$1 towpath_least=step
  [ -n "$towpath_limit" ] || return 0
  towpath_left=$towpath_limit
  [ "$towpath_at" = - ] || towpath_left=$((towpath_limit - towpath_at / 100))
  [ "$towpath_left" -gt 0 ] || return 1
  if [ -z "$1" ] || [ "$towpath_left" -le "$1" ]; then towpath_allowed=$towpath_left towpath_least=job; fi
}

# The job's time is over, which stops it. From the first call on, further steps have the grace between them.
towpath_overtime() {
  [ "$towpath_over" = no ] || return 0
  towpath_over=yes towpath_stopped=yes towpath_limit=$towpath_grace
  [ "$towpath_at" = - ] || towpath_limit=$((towpath_at / 100 + towpath_grace))
}

# $1 when the step began: whether its limit ended it. Without a watch its exit code and its time say so.
towpath_timed_out() {
  [ -z "$towpath_watch" ] || { [ "$towpath_expired" = yes ]; return; }
  case $towpath_code in 124 | 137 | 143) ;; *) return 1 ;; esac
  [ -n "$towpath_allowed" ] || return 1
  if [ "$1" = - ] || [ "$towpath_at" = - ]; then
    [ "$towpath_code" = 124 ]
  else
    [ "$((towpath_at - $1 + 1))" -ge "$((towpath_allowed * 100))" ]
  fi
}

# Sets towpath_leftovers: the processes that have the job's output open, but for those that are known.
# Sets towpath_moment: how many hundredths of a second they have, more where one of them reads from a pipe.
towpath_find_left() {
  towpath_leftovers= towpath_moment=50
  for towpath_process in /proc/[1-9]*; do
    case $towpath_known in *" ${towpath_process#/proc/} "*) continue ;; esac
    [ "$towpath_process/fd/1" -ef /proc/$$/fd/1 ] || [ "$towpath_process/fd/2" -ef /proc/$$/fd/1 ] || continue
    towpath_leftovers="$towpath_leftovers${towpath_process#/proc/} "
    [ ! -p "$towpath_process/fd/0" ] || towpath_moment=200
  done
}

# Waits for what a step left behind it. Where no clock can be read, a round counts as 2 hundredths of a
# second.
towpath_drain() {
  towpath_now
  towpath_drained=0 towpath_ended=$towpath_at
  while towpath_find_left; [ -n "$towpath_leftovers" ]; do
    [ "$towpath_drained" -lt "$towpath_moment" ] || break
    sleep 0.02 2> /dev/null || break
    towpath_now
    towpath_drained=$((towpath_drained + 2))
    [ "$towpath_at" = - ] || towpath_drained=$((towpath_at - towpath_ended))
  done
  towpath_known="$towpath_known$towpath_leftovers"
}

# $1 index, $2 its limit, and descriptor 4: where errors of the step go. The driver's own would have what its
# shell says of a step that a signal ended. Sets towpath_code and towpath_expired. In the step's shell only
# the arguments can be relied on: variables are the user's there.
towpath_try() {
  for towpath_file in "$towpath_state/env-$1" "$towpath_state/output-$1"; do
    [ -e "$towpath_file" ] || printf '' > "$towpath_file"
  done
  towpath_watch=
  if [ -n "$2" ] && [ -n "$towpath_setsid" ]; then
    towpath_watch "$2" > /dev/null 2>&1 3<&- 4>&- 5>&- &
    towpath_watch=$!
  fi
  (
    exec 2>&4 4>&- 5>&-
    read -r towpath_group towpath_rest < /proc/self/stat
    printf '%s\n' "$towpath_group" > "$towpath_state/group"
    set -- "$1" "$2" "$towpath_setsid"
    for towpath_set in $towpath_sets; do set -- "$@" "$towpath_state/env-$towpath_set"; done
    TOWPATH_OUTPUT="$towpath_state/output-$1" TOWPATH_ENV="$towpath_state/env-$1"
    export TOWPATH_OUTPUT TOWPATH_ENV
    exec 3<&-
    towpath_environment
    towpath_load "$@" || exit 1
    "towpath_step_$1" "$2" "$3"
  )
  towpath_code=$?
  towpath_end_watch 2> /dev/null
  towpath_check "$1" || [ "$towpath_code" != 0 ] || towpath_code=1
  towpath_collect "$1" || [ "$towpath_code" != 0 ] || towpath_code=1
}

# $1 index: whether its condition, which reads variables, is true. In this shell variables are the user's.
towpath_weigh() (
  set -- "$1" '' ''
  for towpath_set in $towpath_sets; do set -- "$@" "$towpath_state/env-$towpath_set"; done
  exec 3<&-
  towpath_environment
  towpath_load "$@" || exit 1
  "towpath_env_$1"
  "towpath_condition_$1"
) 2> /dev/null

# $1 index: whether its condition, which reads variables, is true. A stop may end the shell that reads them.
towpath_ask() {
  towpath_asked=$towpath_signalled
  towpath_weigh "$1" || { [ "$towpath_asked" != "$towpath_signalled" ] && towpath_weigh "$1"; }
}

# $1 index, $2 marker line, $3 allow_failure, $4 its limit. Sets towpath_result and towpath_conclusion.
towpath_run() {
  towpath_result=skipped towpath_conclusion=skipped
  "towpath_if_$1" || return
  towpath_now
  if ! towpath_allow "$4"; then
    towpath_overtime
    "towpath_if_$1" && towpath_allow "$4" || return
  fi
  towpath_asked=$towpath_signalled
  printf '%s\n' "$2"
  "towpath_script_$1" > "$towpath_state/step-$1"
  towpath_note '\n%s ' "$1"
  towpath_began=$towpath_at
  towpath_try "$1" "$towpath_allowed" 4>&2 2> /dev/null
  towpath_now
  if [ "$towpath_signalled" != "$towpath_asked" ]; then
    towpath_outcome=x towpath_result=cancelled
  elif [ "$towpath_code$towpath_expired" = 0no ]; then
    towpath_outcome=s towpath_result=success
  elif towpath_timed_out "$towpath_began"; then
    towpath_outcome=t towpath_code=124 towpath_result=failed
    [ "$towpath_least" = step ] || { towpath_result=cancelled; towpath_overtime; }
  else
    towpath_outcome=f towpath_result=failed
  fi
  towpath_conclusion=$towpath_result
  towpath_drain
  towpath_now
  printf '::towpath-%s::end %s %s %s\n' "$towpath_nonce" "$1" "$towpath_code" "$towpath_outcome"
  towpath_note '%s %s%s' "$towpath_at" "$towpath_outcome" "$towpath_code"
  [ "$towpath_code" != 0 ] || return
  if [ "$3" = no ]; then
    [ "$towpath_failed" = yes ] || towpath_status=$towpath_code
    towpath_failed=yes
  elif [ "$towpath_result" = failed ]; then
    towpath_conclusion=success
  fi
}

towpath_now
towpath_note '\ndriver'
cd -- "$towpath_workspace" || exit 1
towpath_head=
{ read -r towpath_head < .git/HEAD; } 2> /dev/null
""".lstrip("\n")
