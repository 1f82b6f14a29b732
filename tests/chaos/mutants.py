"""`python -m tests.chaos.mutants [WORD …]`: takes away, one at a time, what a promise rests on, in a copy of the tree, and shows that a named test then fails.

A word chooses the safeguards that have it in their names. Ends 1 where a test does not fail, or does not pass in the untouched copy: then nobody would notice
the loss of that safeguard.
"""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devstack.places import scratch_directory
from devstack.stack import CHECKOUT

SECONDS = 300
_LEFT_BEHIND = shutil.ignore_patterns(".git", ".venv", ".towpath", "__pycache__", ".*_cache", ".hypothesis", "node_modules")


@dataclass(frozen=True, slots=True)
class Change:
    """In a file, this text (which stands there once) becomes that."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A safeguard that is missing, and the test that finds it out."""

    without: str
    changes: tuple[Change, ...]
    test: str


MUTANTS = (
    Mutant(
        "the unique key of deliveries",
        (
            Change("shared/sql/0001_initial.sql", "CONSTRAINT deliveries_by_id UNIQUE (source, delivery_id)", "CONSTRAINT deliveries_by_id CHECK (true)"),
            Change("shared/sql/0001_initial.sql", "CREATE UNIQUE INDEX deliveries_by_body", "CREATE INDEX deliveries_by_body"),
        ),
        "tests/integration/gateway/test_webhooks.py::test_a_delivery_sent_fifty_times_at_once_is_stored_once",
    ),
    Mutant(
        "the unique key of runs",
        (Change("shared/sql/0001_initial.sql", "UNIQUE (event_id, pipeline_config_id, rerun)", "CHECK (rerun >= 0)"),),
        "tests/integration/scheduler/test_keys.py::test_a_second_run_for_one_event_and_pipeline_is_refused_by_the_table",
    ),
    Mutant(
        "the outbox's transaction",
        (
            Change(
                "shared/db.py",
                "            stored = await self._store_outgoing(connection, work.outgoing)\n            if stored:\n",
                "            if False:\n",
            ),
            Change(
                "shared/db.py",
                '        if stored:\n            crashpoint("store.committed_not_handed_over")\n',
                "        async with self._database.connection() as another:\n            stored = await self._store_outgoing(another, work.outgoing)\n",
            ),
        ),
        "tests/integration/shared/test_one_transaction.py::test_a_message_and_what_it_tells_of_are_one_transaction",
    ),
    Mutant(
        "the publisher confirm",
        (Change("shared/bus.py", "connection.channel(publisher_confirms=True, on_return_raises=True)", "connection.channel(publisher_confirms=False)"),),
        "tests/integration/shared/test_bus.py::test_a_broker_that_says_nothing_is_noticed_and_used_again_when_it_speaks",
    ),
    Mutant(
        "the claim",
        (Change("services/executor/queries.sql", " AND coalesce(a.pod_uid, w.pod_uid) = w.pod_uid", ""),),
        "tests/integration/executor/test_claims.py::test_f23_a_second_pod_of_an_attempt_never_gets_the_claim",
    ),
    Mutant(
        "the started mark",
        (Change("services/executor/step_driver.py", 'if ! mkdir -- "$towpath_started"; then', 'if ! mkdir -p -- "$towpath_started"; then'),),
        "tests/unit/services/executor/test_step_driver.py::test_f63_a_driver_that_is_started_again_runs_no_step",
    ),
    Mutant(
        "the compare-and-set on an attempt's status",
        (
            Change(
                "services/executor/queries.sql",
                "WHERE id = ANY($1::bigint[]) AND status <> 'finished' ORDER BY id FOR UPDATE)",
                "WHERE id = ANY($1::bigint[]) ORDER BY id FOR UPDATE)",
            ),
            Change(
                "services/executor/queries.sql",
                "WHERE a.id = v.id AND a.status <> 'finished' AND a.pod_uid IS NOT",
                "WHERE a.id = v.id AND a.pod_uid IS NOT",
            ),
        ),
        "tests/integration/executor/test_attempts.py::test_a_verdict_is_final_and_belongs_to_the_pod_that_was_judged",
    ),
    Mutant(
        "the admission lock",
        (Change("services/scheduler/queries.sql", "SELECT pg_advisory_xact_lock(1, 0) FROM limits;", "SELECT 1 FROM limits;"),),
        "tests/integration/scheduler/test_admission.py::test_an_admission_waits_for_one_that_is_not_committed_yet",
    ),
    Mutant(
        "the ack after commit",
        (
            Change(
                "shared/consuming.py",
                '        crashpoint("consuming.taken_not_handled")\n',
                "        await self._acknowledge([incoming for incoming, _ in known])\n",
            ),
            Change(
                "shared/consuming.py",
                '            await self._acknowledge([incoming for incoming, _ in known])\n            crashpoint("consuming.acked")\n',
                "            pass\n",
            ),
        ),
        "tests/integration/shared/test_one_transaction.py::test_what_a_handler_had_in_hand_when_its_process_died_is_handled_by_another",
    ),
    Mutant(
        "the cursor in the segment's transaction",
        (Change("services/logsink/queries.sql", "SET cursor = coalesce(given.cursor::jsonb, log_streams.cursor)", "SET cursor = log_streams.cursor"),),
        "tests/integration/logsink/test_leases.py::test_killed_at_any_moment_the_log_is_exact",
    ),
)


def misplaced(mutant: Mutant, root: Path) -> list[str]:
    """Texts of the mutant that do not stand exactly once where it wants to change them."""
    found = [(change, (root / change.path).read_text(encoding="utf-8").count(change.old)) for change in mutant.changes]
    return [f"{mutant.without}: {change.path} has {count} times {change.old!r}" for change, count in found if count != 1]


def any_fails(root: Path, tests: Sequence[str]) -> bool:
    """Whether one of these tests fails in this tree."""
    argv = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:randomly", *tests]
    done = subprocess.run(argv, cwd=root, capture_output=True, text=True, timeout=SECONDS * len(tests), check=False)
    if done.returncode not in {0, 1}:
        raise RuntimeError(f"pytest ended {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.returncode == 1


def found_out(mutant: Mutant, root: Path) -> bool:
    """Whether its test fails when the safeguard is missing; the tree is whole again afterwards."""
    before = {change.path: (root / change.path).read_text(encoding="utf-8") for change in mutant.changes}
    for change in mutant.changes:
        path = root / change.path
        path.write_text(path.read_text(encoding="utf-8").replace(change.old, change.new), encoding="utf-8")
    try:
        return any_fails(root, [mutant.test])
    finally:
        for name, text in before.items():
            (root / name).write_text(text, encoding="utf-8")


def main() -> int:
    chosen = [mutant for mutant in MUTANTS if not sys.argv[1:] or any(word in mutant.without for word in sys.argv[1:])]
    root = scratch_directory() / "towpath"
    shutil.copytree(CHECKOUT, root, ignore=_LEFT_BEHIND)
    try:
        wrong = [sentence for mutant in chosen for sentence in misplaced(mutant, root)]
        if wrong or any_fails(root, list(dict.fromkeys(mutant.test for mutant in chosen))):
            say("\n".join(wrong) or "the tests do not pass in the untouched copy")
            return 1
        say(f"{len(chosen)} tests pass in the untouched copy")
        survivors = 0
        for mutant in chosen:
            found = found_out(mutant, root)
            survivors += not found
            say(f"{'found out' if found else 'NOT FOUND OUT'}  without {mutant.without}: {mutant.test.rpartition('::')[2]}")
        return 1 if survivors else 0
    finally:
        shutil.rmtree(root.parent, ignore_errors=True)


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
