"""Remove one safeguard at a time, and check that a named test notices.

Usage: `python -m tests.chaos.mutants [WORD …]`. A word selects the safeguards that have it in their names.
The module works in a copy of the tree and prints a table. A mutant counts as found only if the changed files
are still valid (Python compiles, PostgreSQL plans every statement), a control, which is a test of the normal
case, still passes, and the named test fails by an assertion of its own (`tests.chaos.verdicts`). The exit
status is 1 if a mutant is not found or a test fails in the untouched copy.
"""

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devstack.places import scratch_directory
from devstack.stack import CHECKOUT
from tests.chaos.outcomes import Outcome, read_outcomes
from tests.chaos.verdicts import WRONG_REASON, Verdict, passed, short, table, verdict

SECONDS = 300
"""The average time limit for each test of a pytest call, including the start of its servers."""
STATEMENTS = "tests/integration/shared/test_statements.py::test_every_statement_can_be_planned"
_LEFT_BEHIND = shutil.ignore_patterns(
    ".git", ".venv", ".towpath", "__pycache__", ".*_cache", ".hypothesis", "node_modules"
)


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a file: the text `old`, which the file has exactly once, becomes `new`."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A safeguard to remove, the test that has to notice, and a test that does not need the safeguard."""

    without: str
    changes: tuple[Change, ...]
    test: str
    control: str

    @property
    def controls(self) -> tuple[str, ...]:
        """Return the tests that have to pass with the change.

        A change of SQL adds the test that plans all statements.
        """
        changes_sql = any(change.path.endswith(".sql") for change in self.changes)
        return (self.control, STATEMENTS) if changes_sql else (self.control,)


MUTANTS = (
    Mutant(
        "the unique key of deliveries",
        (
            Change(
                "shared/database/sql/0001_initial.sql",
                "CONSTRAINT deliveries_by_id UNIQUE (source, delivery_id)",
                "CONSTRAINT deliveries_by_id CHECK (true)",
            ),
            Change(
                "shared/database/sql/0001_initial.sql",
                "CREATE UNIQUE INDEX deliveries_by_body",
                "CREATE INDEX deliveries_by_body",
            ),
        ),
        "tests/integration/gateway/test_webhooks.py::test_a_delivery_sent_fifty_times_at_once_is_stored_once",
        "tests/integration/gateway/test_webhooks.py"
        "::test_of_many_different_deliveries_at_once_each_is_stored",
    ),
    Mutant(
        "the unique key of runs",
        (
            Change(
                "shared/database/sql/0001_initial.sql",
                "UNIQUE (event_id, pipeline_config_id, rerun)",
                "CHECK (rerun >= 0)",
            ),
        ),
        "tests/integration/scheduler/test_keys.py"
        "::test_a_second_run_for_one_event_and_pipeline_is_refused_by_the_table",
        "tests/integration/scheduler/test_deliveries.py::test_a_push_starts_a_run",
    ),
    Mutant(
        "the outbox's transaction",
        (
            Change(
                "shared/database/store.py",
                "            stored = await self._store_outgoing(connection, work.outgoing)\n"
                "            if stored:\n",
                "            if False:\n",
            ),
            Change(
                "shared/database/store.py",
                '        if stored:\n            crashpoint("store.committed_not_handed_over")\n',
                "        async with self._database.connection() as another:\n"
                "            stored = await self._store_outgoing(another, work.outgoing)\n",
            ),
        ),
        "tests/integration/shared/test_one_transaction.py"
        "::test_a_message_and_what_it_tells_of_are_one_transaction",
        "tests/integration/shared/test_outbox.py::test_what_is_committed_is_published_at_once_and_marked",
    ),
    Mutant(
        "the publisher confirm",
        (
            Change(
                "shared/messaging/bus.py",
                "connection.channel(publisher_confirms=True, on_return_raises=True)",
                "connection.channel(publisher_confirms=False)",
            ),
        ),
        "tests/integration/shared/test_bus.py"
        "::test_a_broker_that_says_nothing_is_noticed_and_used_again_when_it_speaks",
        "tests/integration/shared/test_bus.py::test_a_message_is_handled_once_and_gone",
    ),
    Mutant(
        "the claim",
        (Change("services/executor/queries.sql", " AND coalesce(a.pod_uid, w.pod_uid) = w.pod_uid", ""),),
        "tests/integration/executor/test_claims.py::test_f23_a_second_pod_of_an_attempt_never_gets_the_claim",
        "tests/integration/executor/test_attempts.py::test_an_admitted_job_runs_and_succeeds",
    ),
    Mutant(
        "the started mark",
        (
            Change(
                "services/executor/step_driver.py",
                'if ! mkdir -- "$towpath_started"; then',
                'if ! mkdir -p -- "$towpath_started"; then',
            ),
        ),
        "tests/unit/services/executor/test_step_driver.py"
        "::test_f63_a_driver_that_is_started_again_runs_no_step",
        "tests/unit/services/executor/test_step_driver.py"
        "::test_steps_run_in_order_and_their_success_is_the_jobs",
    ),
    Mutant(
        "the compare-and-set on an attempt's status",
        (
            Change(
                "services/executor/queries.sql",
                "WHERE id = ANY($1::bigint[]) AND status <> 'finished'\n       ORDER BY id FOR UPDATE)",
                "WHERE id = ANY($1::bigint[])\n       ORDER BY id FOR UPDATE)",
            ),
            Change(
                "services/executor/queries.sql",
                "WHERE a.id = v.id AND a.status <> 'finished' AND a.pod_uid IS NOT",
                "WHERE a.id = v.id AND a.pod_uid IS NOT",
            ),
        ),
        "tests/integration/executor/test_attempts.py"
        "::test_a_verdict_is_final_and_belongs_to_the_pod_that_was_judged",
        "tests/integration/executor/test_attempts.py::test_an_admitted_job_runs_and_succeeds",
    ),
    Mutant(
        "the admission lock",
        (
            Change(
                "services/scheduler/queries.sql",
                "SELECT pg_advisory_xact_lock(1, 0) FROM limits;",
                "SELECT 1 FROM limits;",
            ),
        ),
        "tests/integration/scheduler/test_admission.py"
        "::test_an_admission_waits_for_one_that_is_not_committed_yet",
        "tests/integration/scheduler/test_admission.py::test_no_more_are_admitted_than_there_are_slots",
    ),
    Mutant(
        "the ack after commit",
        (
            Change(
                "shared/messaging/consumer.py",
                '        crashpoint("consuming.taken_not_handled")\n',
                "        await self._acknowledge([incoming for incoming, _ in known])\n",
            ),
            Change(
                "shared/messaging/consumer.py",
                "            await self._acknowledge([incoming for incoming, _ in known])\n"
                '            crashpoint("consuming.acked")\n',
                "            pass\n",
            ),
        ),
        "tests/integration/shared/test_one_transaction.py"
        "::test_what_a_handler_had_in_hand_when_its_process_died_is_handled_by_another",
        "tests/integration/shared/test_bus.py::test_a_message_is_handled_once_and_gone",
    ),
    Mutant(
        "the cursor in the segment's transaction",
        (
            Change(
                "services/logsink/queries.sql",
                "SET cursor = coalesce(given.cursor::jsonb, log_streams.cursor)",
                "SET cursor = log_streams.cursor",
            ),
        ),
        "tests/integration/logsink/test_leases.py::test_killed_at_any_moment_the_log_is_exact",
        "tests/integration/logsink/test_storing.py::test_lines_are_stored_while_the_container_runs",
    ),
    Mutant(
        "fail_fast of a matrix",
        (
            Change(
                "services/scheduler/engine.py",
                "return next((one for one in siblings if one.result in (Status.FAILED, Status.ERROR)), None)",
                "return None",
            ),
        ),
        "tests/unit/services/scheduler/test_conditions.py::test_a_matrix_is_stopped_only_by_the_last_attempt",
        "tests/unit/services/scheduler/test_conditions.py"
        "::test_a_job_between_two_attempts_keeps_its_place_in_the_matrix",
    ),
    Mutant(
        "max_parallel of a matrix",
        (
            Change(
                "services/scheduler/engine.py",
                "return WaitingFor.MAX_PARALLEL",
                "return WaitingFor.SLOT",
            ),
        ),
        "tests/unit/services/scheduler/test_conditions.py"
        "::test_a_job_between_two_attempts_keeps_its_place_in_the_matrix",
        "tests/unit/services/scheduler/test_conditions.py::test_a_matrix_is_stopped_only_by_the_last_attempt",
    ),
    Mutant(
        "the phases of contexts",
        (
            Change(
                "shared/pipeline/contexts.py",
                'Phase.EVENT: frozenset({"event", "inputs", "matrix", "env"})',
                'Phase.EVENT: frozenset({"event", "inputs", "matrix", "env", "needs"})',
            ),
            Change(
                "shared/expressions/phases.py",
                '"needs": Phase.READY',
                '"needs": Phase.EVENT',
            ),
        ),
        "tests/unit/shared/pipeline/test_expansion.py::test_a_title_that_is_made_with_the_run_names_no_need",
        "tests/unit/shared/pipeline/test_expansion.py::test_a_need_of_a_matrix_is_all_of_its_jobs",
    ),
    Mutant(
        "the phase in which a definition becomes final",
        (
            Change(
                "shared/pipeline/expansion.py",
                'return any(_names(text, "needs") for text in texts)',
                "return not texts",
            ),
        ),
        "tests/unit/shared/pipeline/test_expansion.py"
        "::test_a_value_that_names_a_need_is_made_when_the_need_has_ended",
        "tests/unit/shared/pipeline/test_expansion.py::test_outputs_have_the_variables_of_the_job",
    ),
)


def misplaced(mutant: Mutant, root: Path) -> list[str]:
    """Return the texts of the mutant that its files do not have exactly once."""
    found = [
        (change, (root / change.path).read_text(encoding="utf-8").count(change.old))
        for change in mutant.changes
    ]
    return [
        f"{mutant.without}: {change.path} has {count} times {change.old!r}"
        for change, count in found
        if count != 1
    ]


def why_not_compiled(mutant: Mutant, root: Path) -> str:
    """Return the syntax error in a Python file that the mutant changed, or an empty string."""
    for path in sorted({change.path for change in mutant.changes if change.path.endswith(".py")}):
        try:
            compile((root / path).read_text(encoding="utf-8"), path, "exec")
        except SyntaxError as error:
            return f"{path}:{error.lineno} does not compile: {error.msg}"
    return ""


def run(root: Path, tests: Sequence[str]) -> list[Outcome]:
    """Run these tests in this tree, one after the other in one process, and return their outcomes."""
    results = root.with_name("outcomes.json")
    results.unlink(missing_ok=True)
    serial = ["-n", "0"] if importlib.util.find_spec("xdist") else []
    ours = [
        "-p",
        "no:cacheprovider",
        "-p",
        "no:randomly",
        "-p",
        "tests.chaos.outcomes",
        "--outcomes",
        str(results),
    ]
    argv = [sys.executable, "-m", "pytest", "-q", *serial, *ours, *tests]
    done = subprocess.run(
        argv, cwd=root, capture_output=True, text=True, timeout=SECONDS * len(tests), check=False
    )
    if not results.exists():  # pytest ended before its first test, or pytest-timeout ended the process
        last_line = next(reversed((done.stdout + done.stderr).strip().splitlines()), "")
        message = f"pytest ended {done.returncode}: {last_line}"
        return [Outcome(test="", phase="collect", result="failed", message=message)]
    return read_outcomes(results)


def judge(mutant: Mutant, root: Path) -> Verdict:
    """Apply the mutant, run its controls and its test, and restore the tree."""
    before = {change.path: (root / change.path).read_text(encoding="utf-8") for change in mutant.changes}
    for change in mutant.changes:
        path = root / change.path
        path.write_text(path.read_text(encoding="utf-8").replace(change.old, change.new), encoding="utf-8")
    try:
        if why := why_not_compiled(mutant, root):
            return Verdict(WRONG_REASON, "SyntaxError", why)
        return verdict(mutant.test, mutant.controls, run(root, [*mutant.controls, mutant.test]))
    finally:
        for name, text in before.items():
            (root / name).write_text(text, encoding="utf-8")


def main(words: Sequence[str]) -> int:
    chosen = [mutant for mutant in MUTANTS if not words or any(word in mutant.without for word in words)]
    root = scratch_directory() / "towpath"
    shutil.copytree(CHECKOUT, root, ignore=_LEFT_BEHIND)
    try:
        tests = list(dict.fromkeys(test for mutant in chosen for test in (*mutant.controls, mutant.test)))
        broken = [sentence for mutant in chosen for sentence in misplaced(mutant, root)] or passed(
            tests, run(root, tests)
        )
        if broken:
            say("\n".join(["the untouched copy does not fit or does not pass:", *broken]))
            return 1
        say(f"all {len(tests)} tests pass in the untouched copy")
        rows = []
        for mutant in chosen:
            found = judge(mutant, root)
            rows.append((mutant.without, mutant.test, found))
            say(f"{found.word}: without {mutant.without}: {short(mutant.test)}: {found.message}")
        say(f"\n{table(rows)}\n\n{sum(found.is_found for *_, found in rows)} of {len(rows)} mutants found")
        return 0 if all(found.is_found for *_, found in rows) else 1
    finally:
        shutil.rmtree(root.parent, ignore_errors=True)


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
