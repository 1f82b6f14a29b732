"""The pipelines of the load, and the exact output of each of their jobs. Pure.

Jobs of a concurrency group also write `alive` lines while they run. If they share files, they also take an
exclusive lock. The checks can therefore see two such jobs that run at once.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.harness.oracle import Oracle
from tests.harness.scenes import Document, document, job
from tests.harness.witness import HttpOracle


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of pipeline. The load starts runs of it in proportion to `weight`."""

    name: str
    weight: int
    jobs: tuple[str, ...]
    """The names of the jobs, in the order in which they run."""
    lines: int
    """The number of lines that each job prints."""
    pause: str = ""
    """A shell command that runs after every tenth line."""
    fails: bool = False
    """True if the last job fails."""
    on_new: str | None = None
    """The `on_new` setting of the concurrency group of all runs of this kind, or None for no group.

    One run of the group runs at a time.
    """

    @property
    def is_superseded(self) -> bool:
        """True if a newer run ends an older one."""
        return self.on_new == "cancel_older"


SHORT = Kind("short", 12, ("only",), 20)
LONG = Kind("long", 4, ("only",), 200, pause="sleep 0.1")
CHAIN = Kind("chain", 2, ("first", "second"), 15)
FAILING = Kind("failing", 2, ("first", "last"), 15, fails=True)
QUEUED = Kind("queued", 1, ("only",), 10, pause="sleep 0.5", on_new="queue")
NEWEST = Kind("newest", 2, ("only",), 30, pause="sleep 1", on_new="cancel_older")
"""Every second run of this kind ignores SIGTERM."""
KINDS = (SHORT, LONG, CHAIN, FAILING, QUEUED, NEWEST)
BY_NAME = {kind.name: kind for kind in KINDS}

GROUP = "${{ event.repository }}:${{ event.branch }}"

_SCRIPT = """\
{begin}
{start}
i=0
while [ $i -lt {lines} ]; do
  i=$((i + 1))
  echo "line $i of $TOWPATH_SHA"
  [ $((i % 10)) -ne 0 ] || {pause}
done
{end}
exit {code}
"""


def pipeline_text(kind: Kind, repository: str, oracle: Oracle, lock: Path | None = None) -> str:
    """Return the YAML text of the pipeline.

    `lock` is a file of this kind alone that jobs can read and lock. It is None if jobs share no files.
    """
    jobs: dict[str, Document] = {}
    for number, name in enumerate(kind.jobs):
        needs = {"needs": [kind.jobs[number - 1]]} if number else {}
        last = name == kind.jobs[-1]
        jobs[name] = job(_script(kind, oracle, lock, code=3 if kind.fails and last else 0), **needs)
    group = {"concurrency": {"group": GROUP, "limit": 1, "on_new": kind.on_new}} if kind.on_new else {}
    return document(repository, jobs, **group)


def _script(kind: Kind, oracle: Oracle, lock: Path | None, code: int) -> str:
    begin, pause = [], kind.pause or "true"
    if kind.on_new:
        pause = f"{{ {pause}; {_mark(oracle, 'alive')}; }}"
    if kind.is_superseded:
        begin.append("[ $((TOWPATH_RUN_ID % 2)) -eq 0 ] || trap '' TERM")
    if kind.on_new and lock:
        begin.append(f"exec 9< {shlex.quote(str(lock))}; flock -n 9 || {_mark(oracle, 'overlap')}")
    return _SCRIPT.format(
        begin="\n".join(begin),
        start=_mark(oracle, "start"),
        end=_mark(oracle, "end"),
        lines=kind.lines,
        pause=pause,
        code=code,
    )


def _mark(oracle: Oracle, what: str) -> str:
    """Return a shell command that repeats a line until the oracle has taken it.

    A line that arrives twice is identical, including its time.
    """
    said = oracle.append(f"{what} $TOWPATH_SHA $TOWPATH_RUN_ID $TOWPATH_JOB $TOWPATH_ATTEMPT $at")
    said += " --max-time 3" if isinstance(oracle, HttpOracle) else ""  # curl uses the last --max-time
    return f"{{ at=$(date +%s.%N); until {said} 2>/dev/null; do sleep 0.2; done; }}"


def expected_log(kind: Kind, sha: str) -> bytes:
    """Return the exact log of each job of this kind."""
    return b"".join(b"line %d of %s\n" % (number, sha.encode()) for number in range(1, kind.lines + 1))
