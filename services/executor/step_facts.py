"""What the step driver noted, read back: each step with its outcome and times.

For display only; see `step_driver` for the form.

Any part of it may be missing: user code can write there, and clusters keep so many bytes of it and no more.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from services.executor.step_driver import STARTED_TWICE_CODE, STEP_TIMED_OUT_CODE, name_of
from shared.pipeline.model import Step

StepOutcome = Literal["success", "failed", "timed_out", "cancelled", "skipped"]
_OUTCOMES: dict[str, StepOutcome] = {"s": "success", "f": "failed", "t": "timed_out", "x": "cancelled"}
_RECORD = re.compile(r"([1-9][0-9]{0,3}) (?:([0-9]{1,9}|-) ([sftx])([0-9]{1,3}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class StepFact:
    """A step of `attempts.steps`."""

    name: str
    outcome: StepOutcome
    exit_code: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Interruption:
    """How the job was ended while a step may have been running."""

    outcome: StepOutcome
    at: datetime | None


def driver_began(termination: str) -> bool:
    """Whether anything says so: any line of the driver's."""
    return any(line in {"driver", "over"} or _RECORD.fullmatch(line) for line in termination.split("\n"))


def job_timed_out(exit_code: int, termination: str) -> bool:
    """Whether the driver ended the job because the job's own limit was over."""
    return exit_code == STEP_TIMED_OUT_CODE and "limit" in termination.split("\n")


def started_twice(exit_code: int, termination: str) -> bool:
    """Whether the driver ran no step because it had been started before."""
    return exit_code == STARTED_TWICE_CODE and not driver_began(termination)


def step_facts(
    termination: str, steps: Sequence[Step], started_at: datetime | None, interruption: Interruption
) -> list[StepFact]:
    """One fact a step, in order. Lines that the driver would not have written are left out."""
    facts = [StepFact(name_of(step), "skipped") for step in steps]
    began: datetime | None = started_at
    for line in termination.split("\n"):
        record = _RECORD.fullmatch(line)
        if record is None or int(record[1]) > len(steps):
            continue
        name, at = facts[int(record[1]) - 1].name, record[2]
        if at is None:
            facts[int(record[1]) - 1] = StepFact(name, interruption.outcome, None, began, interruption.at)
            continue
        ended = None if started_at is None or at == "-" else started_at + timedelta(seconds=int(at) / 100)
        facts[int(record[1]) - 1] = StepFact(
            name, _OUTCOMES[record[3]], min(int(record[4]), 255), began, ended
        )
        began = ended
    return facts
