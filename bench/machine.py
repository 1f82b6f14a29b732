"""Facts about this machine, and the processor seconds of processes, from /proc.

The figures of a benchmark are ratios. These values show the conditions under which they were measured.
"""

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from bench.figures import Json
from devstack.processes import Process, descendants

_TICKS = os.sysconf("SC_CLK_TCK")


def facts() -> dict[str, Json]:
    """Return the machine's properties."""
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_bytes / (1 << 30), 1),
        "kernel": platform.release(),
        "load_average": round(os.getloadavg()[0], 2),
    }


def versions(buildbot_venv: Path) -> dict[str, Json]:
    """Return the versions of the measured software. Buildbot is left out if it is not installed."""
    found: dict[str, Json] = {"python": platform.python_version()}
    found |= {name: metadata.version(name) for name in ("aiohttp", "aio-pika", "asyncpg")}
    installed = metadata.distributions(path=[str(path) for path in buildbot_venv.glob("lib/*/site-packages")])
    return found | {
        package.name: package.version
        for package in installed
        if package.name in {"buildbot", "Twisted", "SQLAlchemy"}
    }


class Clock:
    """Measures processor seconds of processes since its creation.

    Each process includes its descendants that still run or that were waited for.
    """

    def __init__(self, roots: Mapping[str, Process | None]) -> None:
        self._roots = {name: process for name, process in roots.items() if process}
        self._before = {name: _seconds_below(process) for name, process in self._roots.items()}
        self._machine_before = _machine_seconds()

    def spent(self) -> dict[str, Json]:
        """Return the seconds by name, the largest first, and those of the whole machine.

        `other` is the time without a name: the sender, the jobs, and this program.
        """
        spent = {name: _seconds_below(process) - self._before[name] for name, process in self._roots.items()}
        machine = _machine_seconds() - self._machine_before
        spent["other"] = machine - sum(spent.values())
        ordered: dict[str, Json] = {
            name: round(seconds, 2) for name, seconds in sorted(spent.items(), key=lambda item: -item[1])
        }
        return ordered | {"machine": round(machine, 2)}


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def _seconds_below(process: Process) -> float:
    """Return the processor seconds of the process and its descendants.

    Fields 14 to 17 of proc(5) `stat` are a process' own time and that of the children it has waited for.
    """
    ticks = 0
    for each in [process, *descendants(process)]:
        try:
            fields = Path(f"/proc/{each.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended, and its parent has its time
        ticks += sum(map(int, fields[11:15]))
    return ticks / _TICKS


def _machine_seconds() -> float:
    """Return all time that was not idle: user, nice, system, irq and softirq of /proc/stat's first line."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq = (int(value) for value in fields[:7])
    return (user + nice + system + irq + softirq) / _TICKS
