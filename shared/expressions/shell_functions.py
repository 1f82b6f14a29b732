"""The shell functions that compiled expressions call, in POSIX `sh`. `shell` describes the values.

The current value is towpath_type and towpath_value. Functions of two values have the left one as arguments,
and the current value is the right one; their result replaces it. All but towpath_truthy return 0.
"""

FUNCTIONS = r"""
towpath_space=$(printf ' \t\n\v\f\r.') towpath_space=${towpath_space%.}

# Whether the current value counts as true.
towpath_truthy() {
  case $towpath_type in
    '') return 1 ;;
    bool) [ "$towpath_value" = true ] ;;
    num) case $towpath_value in '0e0 '* | 'nan '*) return 1 ;; esac ;;
    *) [ -n "$towpath_value" ] ;;
  esac
}

towpath_not() {
  if towpath_truthy; then towpath_value=false; else towpath_value=true; fi
  towpath_type=bool
}

towpath_success() {
  towpath_type=bool
  case $towpath_failed-$towpath_stopped in
    no-no) towpath_value=true ;;
    *) towpath_value=false ;;
  esac
}

towpath_failure() {
  towpath_type=bool
  case $towpath_failed-$towpath_stopped in
    yes-no) towpath_value=true ;;
    *) towpath_value=false ;;
  esac
}

towpath_cancelled() {
  towpath_type=bool
  case $towpath_stopped in
    no) towpath_value=false ;;
    *) towpath_value=true ;;
  esac
}

towpath_always() {
  towpath_type=bool towpath_value=true
}

# $1 type, $2 value. Sets towpath_text.
towpath_to_text() {
  case $1 in
    num) towpath_text=${2#* } ;;
    *) towpath_text=$2 ;;
  esac
}

# $1 a text. Sets towpath_folded to it with capital letters A to Z. Each letter is replaced by splitting at
# the small one and joining with the capital; the dot keeps an empty last part.
towpath_fold() {
  towpath_folded=$1 towpath_ifs=${IFS-$towpath_space}
  set -f
  for towpath_pair in aA bB cC dD eE fF gG hH iI jJ kK lL mM nN oO pP qQ rR sS tT uU vV wW xX yY zZ; do
    IFS=${towpath_pair%?}
    case $towpath_folded in *"$IFS"*) ;; *) continue ;; esac
    set -- $towpath_folded.
    IFS=${towpath_pair#?}
    towpath_folded="$*"
    towpath_folded=${towpath_folded%.}
  done
  set +f
  IFS=$towpath_ifs
}

# $1 type, $2 value, of the left value: contains, startsWith, endsWith.
towpath_fold_both() {
  towpath_to_text "$1" "$2"
  towpath_fold "$towpath_text"
  towpath_folded_left=$towpath_folded
  towpath_to_text "$towpath_type" "$towpath_value"
  towpath_fold "$towpath_text"
  towpath_type=bool towpath_value=false
}

towpath_contains() {
  towpath_fold_both "$1" "$2"
  case $towpath_folded_left in *"$towpath_folded"*) towpath_value=true ;; esac
}

towpath_starts() {
  towpath_fold_both "$1" "$2"
  case $towpath_folded_left in "$towpath_folded"*) towpath_value=true ;; esac
}

towpath_ends() {
  towpath_fold_both "$1" "$2"
  case $towpath_folded_left in *"$towpath_folded") towpath_value=true ;; esac
}

# $1 type, $2 value, of the left value: ==.
towpath_equal() {
  towpath_same=false
  case $1-$towpath_type in
    -) towpath_same=true ;;
    bool-bool) [ "$2" != "$towpath_value" ] || towpath_same=true ;;
    text-text) towpath_equal_texts "$2" "$towpath_value" ;;
    *)
      towpath_to_number "$1" "$2"
      towpath_number_left=$towpath_number
      towpath_to_number "$towpath_type" "$towpath_value"
      [ "$towpath_number" = nan ] || [ "$towpath_number" != "$towpath_number_left" ] || towpath_same=true ;;
  esac
  towpath_type=bool towpath_value=$towpath_same
}

# $1 and $2 texts. Sets towpath_same to true if they are equal without case.
towpath_equal_texts() {
  if [ "x$1" = "x$2" ]; then
    towpath_same=true
  elif [ "${#1}" = "${#2}" ]; then
    towpath_fold "$1"
    towpath_folded_left=$towpath_folded
    towpath_fold "$2"
    [ "x$towpath_folded_left" != "x$towpath_folded" ] || towpath_same=true
  fi
}

# $1 type, $2 value. Sets towpath_number to the canonical text of a number, or nan.
towpath_to_number() {
  case $1 in
    '') towpath_number=0e0 ;;
    bool) case $2 in true) towpath_number=1e0 ;; *) towpath_number=0e0 ;; esac ;;
    num) towpath_number=${2%% *} ;;
    *)
      towpath_number=nan
      [ "${#2}" -gt 64 ] || towpath_parse "$2" || : ;;
  esac
  return 0
}

# $1 a text of at most 64 characters. Sets towpath_number, or leaves it.
towpath_parse() {
  towpath_digits=$1
  while :; do
    case $towpath_digits in
      ["$towpath_space"]*) towpath_digits=${towpath_digits#?} ;;
      *["$towpath_space"]) towpath_digits=${towpath_digits%?} ;;
      *) break ;;
    esac
  done
  case $towpath_digits in
    '') towpath_number=0e0; return ;;
    Infinity) towpath_number=inf; return ;;
    -Infinity) towpath_number=-inf; return ;;
    0x*)
      towpath_digits=${towpath_digits#0x}
      case $towpath_digits in '' | *[!0123456789abcdefABCDEF]*) return ;; esac
      towpath_strip
      [ "${#towpath_digits}" -le 7 ] || return
      towpath_digits=$((0x0$towpath_digits)) ;;
    0o*)
      towpath_digits=${towpath_digits#0o}
      case $towpath_digits in '' | *[!01234567]*) return ;; esac
      towpath_strip
      [ "${#towpath_digits}" -le 10 ] || return
      towpath_digits=$((0$towpath_digits)) ;;
  esac
  towpath_decimal
}

# Removes zeros before towpath_digits.
towpath_strip() {
  while :; do
    case $towpath_digits in 0*) towpath_digits=${towpath_digits#0} ;; *) break ;; esac
  done
}

# Sets towpath_number to the canonical text of the decimal number in towpath_digits, or leaves it.
towpath_decimal() {
  towpath_sign= towpath_power= towpath_negative= towpath_fraction=
  case $towpath_digits in
    -*) towpath_sign=- towpath_digits=${towpath_digits#-} ;;
    +*) towpath_digits=${towpath_digits#+} ;;
  esac
  case $towpath_digits in
    *[eE]*)
      towpath_power=${towpath_digits#*[eE]} towpath_digits=${towpath_digits%%[eE]*}
      case $towpath_power in
        -*) towpath_negative=- towpath_power=${towpath_power#-} ;;
        +*) towpath_power=${towpath_power#+} ;;
      esac
      case $towpath_power in '' | *[!0123456789]*) return ;; esac ;;
  esac
  case $towpath_digits in
    *.*.* | *[!0123456789.]*) return ;;
    *.*) towpath_fraction=${towpath_digits#*.} towpath_digits=${towpath_digits%%.*} ;;
  esac
  towpath_digits=$towpath_digits$towpath_fraction
  [ -n "$towpath_digits" ] || return
  towpath_strip
  if [ -z "$towpath_digits" ]; then towpath_number=0e0; return; fi
  towpath_scale "${#towpath_fraction}"
}

# $1 the number of digits after the point. Uses the power of ten, if it and the digits are in the limits.
towpath_scale() {
  towpath_mantissa=$towpath_digits towpath_digits=$towpath_power
  towpath_strip
  [ "${#towpath_digits}" -le 4 ] || return
  towpath_power=$(($towpath_negative${towpath_digits:-0} - $1))
  towpath_order=$((towpath_power + ${#towpath_mantissa}))
  [ "$towpath_order" -ge -290 ] && [ "$towpath_order" -le 290 ] || return
  while :; do
    case $towpath_mantissa in
      *0) towpath_mantissa=${towpath_mantissa%0} towpath_power=$((towpath_power + 1)) ;;
      *) break ;;
    esac
  done
  [ "${#towpath_mantissa}" -gt 15 ] || towpath_number=$towpath_sign${towpath_mantissa}e$towpath_power
}
""".lstrip("\n")
"""Defines the functions. It needs no variable to be set."""
