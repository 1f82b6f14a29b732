"""Texts with a fixed form: durations, quantities, names, images, folders.

Each function returns the parsed value or raises BadValue. The published JSON Schema shows the patterns.
"""

import re
from decimal import ROUND_CEILING, Decimal

from shared.pipeline.errors import BadValue, quotable

NAME = r"[A-Za-z_][A-Za-z0-9_-]{0,62}"
"""The name of a job or the id of a step. It is used in paths, labels and (later) expressions."""
SERVICE_NAME = r"[a-z](?:[a-z0-9-]{0,53}[a-z0-9])?"
"""A DNS label. The job reaches the service under this name.

With the prefix `service-` it is the name of a container, which may have 63 characters.
"""
ENV_NAME = r"[A-Za-z_][A-Za-z0-9_]{0,127}"
SECRET_NAME = r"[A-Z_][A-Z0-9_]{0,127}"  # noqa: S105 - the form of names, no value
AXIS_NAME = r"[A-Za-z_][A-Za-z0-9_-]{0,62}"
OUTPUT_NAME = r"[A-Za-z_][A-Za-z0-9_-]{0,127}"
DURATION = r"[0-9]{1,7}[smhd]"
CPU = r"[0-9]{1,6}m|[0-9]{1,3}(?:\.[0-9]{1,3})?"
MEMORY = r"[0-9]{1,15}(?:\.[0-9]{1,3})?(?:[KMGT]i|[kMGT])?"
REPOSITORY = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}/[A-Za-z0-9_.*?-]{1,100}"
_HOST_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = rf"(?:{_HOST_LABEL}(?:\.{_HOST_LABEL})*|\[[0-9A-Fa-f:]+\])(?::[0-9]{{1,5}})?"
_PART = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})"
IMAGE = rf"(?:{_HOST}/)?{_PART}(?:/{_PART})*(?::{_TAG})?(?:@{_DIGEST})?"
"""An image reference, with the grammar of github.com/distribution/reference."""

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
LABEL_KEY = rf"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*/)?{_LABEL}"
LABEL_VALUE = rf"(?:{_LABEL})?"
"""Key and value of a node's label follow kubernetes.io/docs/concepts/overview/working-with-objects/labels."""
LABEL_PREFIX_LIMIT = 253

TIMEOUT_LIMIT_SECONDS = 7 * 24 * 3600
"""A job that takes longer than a week is a service."""
PAUSE_LIMIT_SECONDS = 3600
"""Limit for the wait for a service and for the backoff before a retry. Longer waits are not useful."""
CPU_MILLIS = range(10, 256_000 + 1)
MEMORY_BYTES = range(16 * 1024**2, 4 * 1024**4 + 1)
"""No container starts with less than 16 MiB, and no node has more than 4 TiB."""
STOP_GRACE_LIMIT_SECONDS = 300
"""A stopped job keeps its slot and its place in a group until it has ended."""
RUN_LIMIT_BYTES = 64 * 1024
ENV_VALUE_LIMIT_BYTES = 32 * 1024
"""Linux allows 128 KiB for one variable."""
READONLY_IN_BASH = frozenset({"BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID"})
"""Variables that bash sets itself. If `sh` is bash, setting one ends the step before its script."""
RESERVED_ENV_NAME = re.compile(r"TOWPATH(_.*)?", re.IGNORECASE)
"""Names that Towpath sets itself. In lower case they are variables of the step driver."""

_OF_SHELLS = frozenset(
    {
        *("BASH_ENV", "ENV", "HOME", "IFS", "LD_LIBRARY_PATH", "LD_PRELOAD"),
        *("LOGNAME", "PATH", "PWD", "SHELL", "USER"),
    }
)
"""Variables that control how shells and programs start."""

RESERVED_SERVICE_NAMES = frozenset({"artifacts", "clone", "job", "localhost"})
"""Names of the containers that an attempt may have, and `localhost`, which is the pod itself."""

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_BYTES = {
    "": 1,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


def duration_seconds(text: str) -> int:
    if not re.fullmatch(DURATION, text):
        unitless = text.isdecimal()
        message = (
            "a duration needs a unit: s, m, h or d" if unitless else f'"{quotable(text)}" is not a duration'
        )
        raise BadValue(
            "bad_duration",
            message,
            f"Write {text[:7]}s or {text[:7]}m."
            if unitless
            else "Write one number and one unit: 90s, 20m, 1h or 2d.",
        )
    seconds = int(text[:-1]) * _SECONDS[text[-1]]
    if not 1 <= seconds <= TIMEOUT_LIMIT_SECONDS:
        raise BadValue("bad_duration", f"{text} is out of bounds", "From 1s to 7d.")
    return seconds


def pause_seconds(text: str) -> int:
    seconds = duration_seconds(text)
    if seconds > PAUSE_LIMIT_SECONDS:
        raise BadValue("bad_duration", f"{text} is out of bounds", "From 1s to 1h.")
    return seconds


def stop_grace_seconds(text: str) -> int:
    seconds = duration_seconds(text)
    if seconds > STOP_GRACE_LIMIT_SECONDS:
        raise BadValue("bad_duration", f"{text} is out of bounds", "From 1s to 5m.")
    return seconds


def cpu_millis(text: str) -> int:
    if not re.fullmatch(CPU, text):
        raise BadValue(
            "bad_cpu",
            f'"{quotable(text)}" is not an amount of CPU',
            "Write cores or thousandths of a core: 2, 0.5 or 500m.",
        )
    millis = int(text[:-1]) if text.endswith("m") else int(Decimal(text) * 1000)
    if millis not in CPU_MILLIS:
        raise BadValue("bad_cpu", f"{text} is out of bounds", "From 10m to 256 cores.")
    return millis


def memory_bytes(text: str) -> int:
    if not re.fullmatch(MEMORY, text):
        raise BadValue("bad_memory", f'"{quotable(text)}" is not an amount of memory', _memory_advice(text))
    number = text.rstrip("KMGTki")
    size = int((Decimal(number) * _BYTES[text[len(number) :]]).to_integral_value(ROUND_CEILING))
    if size not in MEMORY_BYTES:
        raise BadValue(
            "bad_memory", f"{text} is out of bounds", "From 16Mi to 4Ti; a number without a unit is bytes."
        )
    return size


def _memory_advice(text: str) -> str:
    if found := re.fullmatch(r"([0-9.]{1,12})\s*([kmgt])i?b?", text, re.IGNORECASE):
        return f"Write {found[1]}{found[2].upper()}i."
    return "Write 512Mi or 2Gi."


def job_name(text: str) -> str:
    return _name(text, NAME, "a name", 63)


def service_name(text: str) -> str:
    if not re.fullmatch(SERVICE_NAME, text):
        message = f'"{quotable(text)}" is not the name of a host'
        raise BadValue(
            "bad_service_name",
            message,
            'A small letter, then small letters, digits and "-", at most 55 characters; no "-" at the end.',
        )
    if text in RESERVED_SERVICE_NAMES:
        raise BadValue("bad_service_name", f'the name "{text}" is taken by Towpath')
    return text


def label_key(text: str) -> str:
    if not re.fullmatch(LABEL_KEY, text) or len(text.rpartition("/")[0]) > LABEL_PREFIX_LIMIT:
        raise BadValue(
            "bad_label",
            f'"{quotable(text)}" is not a label\'s key',
            "Write it as Kubernetes does: disktype or kubernetes.io/arch.",
        )
    return text


def label_value(text: str) -> str:
    if not re.fullmatch(LABEL_VALUE, text):
        raise BadValue(
            "bad_label",
            f'"{quotable(text)}" is not a label\'s value',
            'Letters, digits, "-", "_" and ".", at most 63 characters.',
        )
    return text


def title(text: str) -> str:
    if not text.strip() or "\n" in text:
        raise BadValue("bad_title", "a name is one line and not blank")
    return text


def env_name(text: str) -> str:
    if not re.fullmatch(ENV_NAME, text):
        message = f'"{quotable(text)}" is not the name of a variable'
        raise BadValue(
            "bad_env_name", message, 'A letter or "_", then letters, digits and "_", at most 128 characters.'
        )
    if RESERVED_ENV_NAME.fullmatch(text):
        raise BadValue("reserved_env_name", "names that begin with TOWPATH_ are set by Towpath")
    if text in READONLY_IN_BASH:
        raise BadValue(
            "reserved_env_name", f"bash sets {text} itself and lets nobody else", "Choose another name."
        )
    if text == "OPTIND":
        raise BadValue(
            "reserved_env_name", "OPTIND is the shell's own: where it is no number, no script starts"
        )
    return text


def secret_name(text: str) -> str:
    """Return the name of a secret, which is also the name of its variable."""
    if not re.fullmatch(SECRET_NAME, text):
        raise BadValue(
            "bad_secret_name",
            f'"{quotable(text)}" is not the name of a secret',
            'A capital letter or "_", then capital letters, digits and "_", at most 128 characters.',
        )
    if text in _OF_SHELLS:
        raise BadValue(
            "reserved_env_name",
            f"{text} controls how shells and programs start, so no secret has this name",
            "Choose another name.",
        )
    return env_name(text)


def axis_name(text: str) -> str:
    return _name(text, AXIS_NAME, "the name of an axis", 63)


def input_name(text: str) -> str:
    return _name(text, AXIS_NAME, "the name of an input", 63)


def output_name(text: str) -> str:
    return _name(text, OUTPUT_NAME, "the name of an output", 128)


def _name(text: str, form: str, what: str, longest: int) -> str:
    if not re.fullmatch(form, text):
        raise BadValue(
            "bad_name",
            f'"{quotable(text)}" is not {what}',
            f'A letter or "_", then letters, digits, "_" and "-", at most {longest} characters.',
        )
    return text


def group_name(text: str) -> str:
    if not text.strip() or "\n" in text:
        raise BadValue("bad_group", "a group's name is one line and not blank")
    return text


def env_value(text: str) -> str:
    return _limited(text, ENV_VALUE_LIMIT_BYTES, "a variable")


def script(text: str) -> str:
    if not text.strip():
        raise BadValue("empty_script", "the script is empty")
    return _limited(text, RUN_LIMIT_BYTES, "a step's script")


def _limited(text: str, limit_bytes: int, what: str) -> str:
    if len(text.encode()) > limit_bytes:
        raise BadValue(
            "too_long", f"{what} may have {limit_bytes // 1024} KiB", "Keep it in a file of the repository."
        )
    return text


def repository(text: str) -> str:
    owner, _, name = text.partition("/")
    if re.fullmatch(REPOSITORY, text) and name not in {".", ".."}:
        return text
    if "://" in text or text.startswith("git@"):
        raise BadValue(
            "bad_repository", "a repository is named by owner and name, not by its address", "Write octo/web."
        )
    if any(character in owner for character in "*?"):
        raise BadValue("bad_repository", "a glob may stand in the name part only", "Write octo/*.")
    raise BadValue(
        "bad_repository",
        f'"{quotable(text)}" is not a repository',
        "Write owner/name, or owner/* for all of an owner.",
    )


def image(text: str) -> str:
    if re.fullmatch(IMAGE, text):
        return text
    if re.fullmatch(IMAGE, text.lower()):
        raise BadValue(
            "bad_image", "the name of an image is in lower case", f"Write {quotable(text.lower(), 120)}."
        )
    raise BadValue(
        "bad_image",
        f'"{quotable(text)}" is not an image',
        "Write name:tag, with the registry before it if need be: ghcr.io/octo/web:1.2.",
    )


def relative_folder(text: str) -> str:
    if text.startswith(("/", "~")):
        raise BadValue(
            "bad_path", "the folder is given from the top of the workspace", "Write web/app, not /web/app."
        )
    if ".." in text.split("/"):
        raise BadValue("bad_path", '".." would leave the workspace')
    if not text.strip() or "\n" in text:
        raise BadValue("bad_path", "a folder is one line and not blank")
    return text
