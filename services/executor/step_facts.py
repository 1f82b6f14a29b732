"""Parser for the step driver's termination file: returns the outcome and times of each step.

`step_driver` describes the format. The result is for display only. Any part of the file may be missing: user
code can write to it, and clusters keep only a limited number of bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from services.executor.step_driver import STARTED_TWICE_CODE, STEP_TIMED_OUT_CODE, name_of
from shared.pipeline.model import Step
from shared.step_markers import RECORD

StepOutcome = Literal["success", "failed", "timed_out", "cancelled", "skipped"]
_OUTCOMES: dict[str, StepOutcome] = {"s": "success", "f": "failed", "t": "timed_out", "x": "cancelled"}


@dataclass(frozen=True, slots=True)
class StepFact:
    """One step of `attempts.steps`."""

    name: str
    outcome: StepOutcome
    exit_code: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Interruption:
    """The outcome and time that are assigned to a step that was running when the job was ended."""

    outcome: StepOutcome
    at: datetime | None


def driver_began(termination: str) -> bool:
    """Return whether the file has any line of the driver, which proves that the driver started."""
    return any(line in {"driver", "over"} or RECORD.fullmatch(line) for line in termination.split("\n"))


def job_timed_out(exit_code: int, termination: str) -> bool:
    """Return whether the driver ended the job because the job's own time limit was over."""
    return exit_code == STEP_TIMED_OUT_CODE and "limit" in termination.split("\n")


def started_twice(exit_code: int, termination: str) -> bool:
    """Return whether the driver ran no step because it had been started before."""
    return exit_code == STARTED_TWICE_CODE and not driver_began(termination)


def step_facts(
    termination: str, steps: Sequence[Step], started_at: datetime | None, interruption: Interruption
) -> list[StepFact]:
    """Return one fact for each step, in order. Lines that the driver would not have written are ignored."""
    facts = [StepFact(name_of(step), "skipped") for step in steps]
    began: datetime | None = started_at
    for line in termination.split("\n"):
        record = RECORD.fullmatch(line)
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
