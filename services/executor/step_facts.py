"""What the step driver noted, read back: each step with its outcome and times. For display only; see `step_driver` for the form."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from services.executor.step_driver import name_of
from shared.pipeline.model import Step

StepOutcome = Literal["success", "failed", "timed_out", "cancelled", "skipped"]
_OUTCOMES: dict[str, StepOutcome] = {"success": "success", "failed": "failed", "timed_out": "timed_out", "stopped": "cancelled"}


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
    return termination.startswith("driver ")


def step_facts(termination: str, steps: Sequence[Step], started_at: datetime | None, interruption: Interruption) -> list[StepFact]:
    """One fact a step, in order. Lines that the driver would not have written are left out: user code can write here."""
    clock = _Clock(started_at, None)
    facts = [StepFact(name_of(step), "skipped") for step in steps]
    begun: dict[int, str] = {}
    for line in termination.splitlines():
        match line.split(" "):
            case ["driver", at]:
                clock = _Clock(started_at, _seconds(at))
            case ["begin", index, at] if _is_step(index, facts):
                begun[int(index)] = at
                facts[int(index) - 1] = _begun(facts[int(index) - 1].name, clock.instant(at), interruption)
            case ["end", index, outcome, code, at] if _is_step(index, facts) and outcome in _OUTCOMES and code.isdecimal():
                began = clock.instant(begun.get(int(index), ""))
                facts[int(index) - 1] = StepFact(facts[int(index) - 1].name, _OUTCOMES[outcome], min(int(code), 255), began, clock.instant(at))
    return facts


def _begun(name: str, at: datetime | None, interruption: Interruption) -> StepFact:
    return StepFact(name, interruption.outcome, None, at, interruption.at)


def _is_step(index: str, facts: list[StepFact]) -> bool:
    return index.isascii() and index.isdecimal() and len(index) < 6 and 1 <= int(index) <= len(facts)


def _seconds(text: str) -> float | None:
    """Seconds since boot; None where the driver could not read them."""
    whole, _, part = text.partition(".")
    if not (text.isascii() and whole.isdecimal() and len(text) < 20 and (not part or part.isdecimal())):
        return None
    return float(text)


@dataclass(frozen=True, slots=True)
class _Clock:
    """Turns seconds since boot into instants: the driver began when its container did."""

    started_at: datetime | None
    origin: float | None

    def instant(self, text: str) -> datetime | None:
        at = _seconds(text)
        if at is None or self.started_at is None or self.origin is None or abs(at - self.origin) > 10**7:
            return None
        return self.started_at + timedelta(seconds=at - self.origin)
