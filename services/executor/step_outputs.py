"""The outputs of a job's steps on their way to the executor: the step driver's file, and how it is read.

The step driver appends three texts for each output: the step's id, the output's name, and its value. A NUL
follows each text. User code can change the file, so it is checked like any other input, is only read up to a
limit, and decides nothing but the values of outputs. A supervisor and a container of our image read it, so
this module needs only the standard library.
"""

import json
import os
import re
import stat
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path

FILE = "outputs"
"""The file's name in the state folder of the step driver."""
LIMIT_BYTES = 64 << 10
"""Limit for the names and values of all outputs of an attempt together."""
_READ_BYTES = 8 * LIMIT_BYTES
"""Only a file whose outputs are over the limit, or that names an output often, is longer."""

_STEP = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}", re.ASCII)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)


class OutputsProblem(StrEnum):
    """The reason why the outputs of an attempt cannot be used."""

    TOO_LARGE = "too_large"
    CHANGED = "changed"
    """The file is not as the step driver has written it."""
    LOST = "lost"
    """The cluster has lost them."""


@dataclass(frozen=True, slots=True)
class Collected:
    """The outputs of an attempt: for each step's id, values by name. There are none if there is a problem."""

    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    problem: OutputsProblem | None = None

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> "Collected":
        """Parse the result of `encode`. Raises ValueError, KeyError or TypeError for anything else."""
        return cls.of(json.loads(data))

    @classmethod
    def of(cls, values: dict[str, object]) -> "Collected":
        """Return the value of this `asdict`. Raises as `decode` does."""
        outputs, problem = values["outputs"], values["problem"]
        if not isinstance(outputs, dict) or not all(isinstance(one, dict) for one in outputs.values()):
            raise TypeError("outputs that are no mapping")
        return cls(outputs, None if problem is None else OutputsProblem(str(problem)))


def collect(path: Path) -> Collected:
    """Read the step driver's file. Never waits, and follows no link."""
    data = _read(path)
    if data is None:
        return Collected(problem=OutputsProblem.CHANGED)
    return parse(data)


def parse(data: bytes) -> Collected:
    """Return the outputs in these records. The last of several outputs with one name counts."""
    if len(data) > _READ_BYTES:
        return Collected(problem=OutputsProblem.TOO_LARGE)
    texts = data.decode("utf-8", "replace").split("\0")
    if texts.pop() or len(texts) % 3:
        return Collected(problem=OutputsProblem.CHANGED)
    outputs: dict[str, dict[str, str]] = {}
    for step, name, value in zip(texts[::3], texts[1::3], texts[2::3], strict=True):
        if not _STEP.fullmatch(step) or not _NAME.fullmatch(name):
            return Collected(problem=OutputsProblem.CHANGED)
        outputs.setdefault(step, {})[name] = value
    size = sum(len((name + value).encode()) for step in outputs.values() for name, value in step.items())
    return Collected(outputs) if size <= LIMIT_BYTES else Collected(problem=OutputsProblem.TOO_LARGE)


def _read(path: Path) -> bytes | None:
    """Return the file's bytes, up to one more than the limit.

    None if it is not a regular file, or belongs to another user than the folder: a link to a file that the
    reader may read, but the job may not.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        folder = os.open(path.parent, flags | os.O_DIRECTORY)
        try:
            descriptor = os.open(path.name, flags, dir_fd=folder)
            owner = os.fstat(folder).st_uid
        finally:
            os.close(folder)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_uid != owner:
                return None
            return file.read(_READ_BYTES + 1)
    except OSError:
        return None
