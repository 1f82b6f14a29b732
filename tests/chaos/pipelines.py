"""The pipelines of the load, and exactly what each of their jobs prints. Pure.

Those of a concurrency group say also while they run that they live, and hold a lock that only one can have:
two at once are seen from outside.
"""

import shlex
from dataclasses import dataclass
from pathlib import Path

from tests.harness.oracle import Oracle
from tests.harness.scenes import Document, document, job
from tests.harness.witness import HttpOracle


@dataclass(frozen=True, slots=True)
class Kind:
    """A pipeline of which runs are asked for, `weight` times as often as others."""

    name: str
    weight: int
    jobs: tuple[str, ...]
    """In the order in which they run."""
    lines: int
    """Printed by each of them."""
    pause: str = ""
    """Of the shell, after every tenth line."""
    fails: bool = False
    """The last job does."""
    on_new: str | None = None
    """All runs of this kind are one group, of which one runs at a time; this is what another run does to it.

    None: no group.
    """

    @property
    def is_superseded(self) -> bool:
        """A newer run ends an older one."""
        return self.on_new == "cancel_older"


SHORT = Kind("short", 12, ("only",), 20)
LONG = Kind("long", 4, ("only",), 200, pause="sleep 0.1")
CHAIN = Kind("chain", 2, ("first", "second"), 15)
FAILING = Kind("failing", 2, ("first", "last"), 15, fails=True)
QUEUED = Kind("queued", 1, ("only",), 10, pause="sleep 0.5", on_new="queue")
NEWEST = Kind("newest", 2, ("only",), 30, pause="sleep 1", on_new="cancel_older")
"""Every second run of this kind does not hear SIGTERM."""
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
    """What is stored.

    `lock`: a file that jobs can read and lock, of the kind alone; None where jobs share no file.
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
    """Said until it is heard: what comes twice is the same line, with the same time."""
    said = oracle.append(f"{what} $TOWPATH_SHA $TOWPATH_RUN_ID $TOWPATH_JOB $TOWPATH_ATTEMPT $at")
    said += " --max-time 3" if isinstance(oracle, HttpOracle) else ""  # of curl's options the last counts
    return f"{{ at=$(date +%s.%N); until {said} 2>/dev/null; do sleep 0.2; done; }}"


def expected_log(kind: Kind, sha: str) -> bytes:
    """Of each of its jobs."""
    return b"".join(b"line %d of %s\n" % (number, sha.encode()) for number in range(1, kind.lines + 1))
