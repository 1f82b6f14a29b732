"""The result of a soak: a table for people, and `.towpath/chaos.json` for programs. Pure."""

import os
import platform
from dataclasses import asdict, dataclass
from typing import Any

from shared import VERSION
from tests.chaos.checks import Findings
from tests.chaos.load import Journal
from tests.chaos.recovery import Outage, middle
from tests.chaos.trouble import Injected

PROMISED_P50_SECONDS = 3.0
PROMISED_MOST_SECONDS = 35.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All results of a soak."""

    seed: int
    seconds: float
    machine: dict[str, Any]
    cycles: int
    """The number of faults divided by the number of kinds, rounded up."""
    faults: dict[str, int]
    longest_seconds: dict[str, float]
    """The longest time of each kind, including the restart of the part."""
    left_out: list[str]
    """Kinds that could not be tried on this machine, with the reason."""
    events: int
    repeated: int
    commands: int
    refused: int
    superseded: int
    lost: int
    doubled: int
    stuck: int
    untrue: int
    log_errors: int
    illegal: int
    overlap: int
    violations: int
    platform_errors: int
    recovery_p50_seconds: float
    recovery_max_seconds: float
    recovery_max_kind: str
    not_injected: int
    """Faults that failed because of another fault at the same time. Each was tried again."""
    quiet_seconds: float

    @property
    def is_as_promised(self) -> bool:
        nothing = (
            self.lost
            + self.doubled
            + self.stuck
            + self.untrue
            + self.log_errors
            + self.illegal
            + self.overlap
            + self.violations
        )
        is_soon = (
            self.recovery_p50_seconds <= PROMISED_P50_SECONDS
            and self.recovery_max_seconds <= PROMISED_MOST_SECONDS
        )
        return nothing == 0 and is_soon and self.events > 0

    @property
    def least(self) -> int:
        """The number of injections of the least frequent kind."""
        return min(self.faults.values(), default=0)

    def as_json(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "faults_of_each_kind_at_least": self.least,
            "as_promised": self.is_as_promised,
        }

    def table(self) -> str:
        rows: list[tuple[str, object]] = [
            ("seed", self.seed),
            (
                "length",
                f"{self.seconds:.0f} s on {self.machine['cpus']} CPUs, {self.machine['memory_gib']} GiB",
            ),
            (
                "events accepted",
                f"{self.events}, {self.repeated} of them sent again; {self.commands} retries",
            ),
            ("runs that a newer one superseded", self.superseded),
            ("answers that were no 2xx", f"{self.refused}, each sent again"),
            (
                "faults",
                f"{sum(self.faults.values())} of {len(self.faults)} kinds, each at least {self.least} times",
            ),
            *((f"  {kind}", count) for kind, count in sorted(self.faults.items())),
            *(("  left out", kind) for kind in self.left_out),
            ("lost", self.lost),
            ("doubled", self.doubled),
            ("stuck", self.stuck),
            ("untrue verdicts", self.untrue),
            ("log errors", self.log_errors),
            ("illegal transitions", self.illegal),
            ("overlaps", self.overlap),
            ("other violations", self.violations),
            ("runs that the platform could not start", self.platform_errors),
            ("recovery p50", f"{self.recovery_p50_seconds:.1f} s"),
            ("recovery max", f"{self.recovery_max_seconds:.1f} s ({self.recovery_max_kind})"),
        ]
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


@dataclass(frozen=True, slots=True)
class Soak:
    """The settings of a soak, and how long the last runs took after it."""

    seed: int
    seconds: float
    quiet_seconds: float
    servers: dict[str, str]
    """The versions of the servers, by name."""


def report(
    soak: Soak, journal: Journal, found: Findings, injected: Injected, recovered: list[tuple[Outage, float]]
) -> Report:
    """Build the report from the results."""
    slowest = max(recovered, key=lambda one: one[1], default=None)
    return Report(
        seed=soak.seed,
        seconds=soak.seconds,
        machine={**machine(), **soak.servers},
        cycles=-(-len(injected.outages) // max(len(injected.kinds), 1)),
        faults=injected.counts(),
        longest_seconds=injected.longest_seconds(),
        left_out=injected.left_out,
        events=len(journal.events),
        repeated=journal.repeated,
        commands=len(journal.retries),
        refused=journal.refused,
        recovery_p50_seconds=round(middle([one for _, one in recovered]), 2),
        recovery_max_seconds=round(slowest[1], 2) if slowest else 0.0,
        recovery_max_kind=slowest[0].kind if slowest else "",
        not_injected=injected.not_injected,
        quiet_seconds=round(soak.quiet_seconds, 1),
        **found.counts(),
    )


def machine() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpus": os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "towpath": VERSION,
    }
