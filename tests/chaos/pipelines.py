"""The pipelines of the load, and exactly what each of their jobs prints. Pure."""

from dataclasses import dataclass

from tests.harness.oracle import Oracle
from tests.harness.scenes import Document, document, job


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


SHORT = Kind("short", 12, ("only",), 20)
LONG = Kind("long", 4, ("only",), 200, pause="sleep 0.1")
CHAIN = Kind("chain", 2, ("first", "second"), 15)
FAILING = Kind("failing", 2, ("first", "last"), 15, fails=True)
KINDS = (SHORT, LONG, CHAIN, FAILING)
BY_NAME = {kind.name: kind for kind in KINDS}

_SCRIPT = """\
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


def pipeline_text(kind: Kind, repository: str, oracle: Oracle) -> str:
    """What is stored."""
    jobs: dict[str, Document] = {}
    for number, name in enumerate(kind.jobs):
        needs = {"needs": [kind.jobs[number - 1]]} if number else {}
        last = name == kind.jobs[-1]
        script = _SCRIPT.format(
            start=_mark(oracle, "start"), end=_mark(oracle, "end"), lines=kind.lines, pause=kind.pause or "true", code=3 if kind.fails and last else 0
        )
        jobs[name] = job(script, **needs)
    return document(repository, jobs)


def _mark(oracle: Oracle, what: str) -> str:
    return oracle.append(f"{what} $TOWPATH_SHA $TOWPATH_RUN_ID $TOWPATH_JOB $TOWPATH_ATTEMPT $(date +%s.%N)")


def expected_log(kind: Kind, sha: str) -> bytes:
    """Of each of its jobs."""
    return b"".join(b"line %d of %s\n" % (number, sha.encode()) for number in range(1, kind.lines + 1))
