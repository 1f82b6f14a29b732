"""Writes the parts of the documents that follow from the code: `python -m docs.generate`.

These are docs/statuses.md, the table of docs/messages.md, the table of packages in ARCHITECTURE.md, and the
tables about the pipeline language. A test fails if one of them is out of date. The module also writes the two
files that `cli/` needs from `shared`, because the wheel of the command does not contain `shared`.
"""

import ast
import json
import re
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from docs import language
from shared import VERSION
from shared.messaging import topology
from shared.messaging.messages import Message
from shared.pipeline.schema import json_schema
from shared.statuses import (
    ATTEMPT_MOVES,
    MOVES,
    REASONS_OF,
    TERMINAL,
    AttemptStatus,
    Reason,
    Status,
    WaitingFor,
)

ROOT = Path(__file__).parents[1]
PACKAGES = ("services", "shared", "cli", "devstack", "docs")
SHARED_WRITERS = {"migrate", "each"}
"""Writers of tables that are no service: the migrations, and every service through `shared`."""
S = typing.TypeVar("S", Status, AttemptStatus)
STANDARD_FIELDS = {"type", "id", "occurred_at", "traceparent"}

LANGUAGE: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "pipeline-reference.md": {"keys": language.keys, "later": language.later, "error": language.unknown_key},
    "expressions.md": {
        "phases": language.phases,
        "contexts": language.contexts,
        "event": language.event_fields,
        "functions": language.functions,
        "errors": language.errors,
    },
}
"""The generated parts of the pages about the pipeline language."""

_REASONS = {
    "script_failed": "a step ended with an exit code other than 0",
    "timed_out": "the timeout of the run, the job or a step passed",
    "oom_killed": "it used more memory than its limit",
    "service_failed": "a service of the job did not become ready, or ended",
    "evicted": "the node needed its resources, or it wrote more than its ephemeral storage",
    "preempted": "a pod with a higher priority replaced it",
    "node_lost": "the node it ran on stopped answering",
    "image_missing": "the image does not exist",
    "image_auth": "the registry denies access to the image",
    "image_registry": "the registry did not answer",
    "unschedulable": "no node was suitable in time",
    "quota": "the namespace stayed full",
    "start_timed_out": "it was not ready to start in time",
    "config_invalid": "a value with expressions is not valid, or the cluster or its administrator refuses "
    "the pod",
    "clone_failed": "the commit could not be fetched",
    "lost": "it started, and its result cannot be determined",
    "platform": "an error of Towpath or of the cluster; see the message",
    "cancelled_by_user": "somebody cancelled it",
    "superseded": "a newer run replaced it, or its pull request was closed before it started",
    "rejected": "it was not approved, or its group had no free place",
    "fail_fast": "another job of its matrix failed",
    "dependency_failed": "a job that it needs did not succeed, and its `if` has no status function",
    "condition_false": "its `if` is false",
}
_WAITS = {
    "approval": "an approval",
    "dependency": "jobs that it needs",
    "slot": "a free slot; the run shows the number of jobs before it",
    "group": "a place in its concurrency group",
    "max_parallel": "the end of another job of its matrix, which has a `max_parallel`",
    "quota": "room in the namespace",
    "node": "a suitable node",
    "image": "its image",
    "retry_backoff": "the pause before the next attempt",
}


def statuses() -> str:
    """Return docs/statuses.md."""
    ends = {
        status: sorted(REASONS_OF.get(status, ()), key=list(_REASONS).index)
        for status in MOVES
        if status in TERMINAL
    }
    return "\n".join(
        [
            "# Statuses and reasons",
            "",
            "Generated from `shared/statuses.py` by `python -m docs.generate`. A test checks that this page,",
            "the code and the database's types agree.",
            "",
            *_runs_and_jobs(ends),
            *_attempts(),
            *_reasons(ends),
            *_waits(),
        ]
    )


def _runs_and_jobs(ends: Mapping[Status, Sequence[Reason]]) -> list[str]:
    return [
        "## Runs and jobs",
        "",
        "| status | next status | reasons |",
        "|---|---|---|",
        *(f"| `{status}` | {_moves(MOVES, status)} | {_words(ends.get(status, []))} |" for status in MOVES),
        "",
        "Terminal statuses never change. A job stays `pending` until the claim of its attempt is stored,",
        "and then becomes `running`. Messages may arrive in another order, so `pending` may change",
        "directly to a terminal status. Only a job goes back from `running` to `pending`: if its attempt",
        "failed or was lost, and its `retry` allows another one.",
        "",
        "A job with `allow_failure` that has failed has the status `failed`, but counts as `success` for",
        "its run and for the jobs that need it.",
        "",
    ]


def _reasons(ends: Mapping[Status, Sequence[Reason]]) -> list[str]:
    return [
        "## Reasons",
        "",
        "Every terminal status except `success` has exactly one reason. The local cluster does not use",
        "`service_failed`, `evicted`, `preempted`, `node_lost`, `image_missing`, `image_auth`,",
        "`image_registry`, `unschedulable` and `quota`.",
        "",
        "| reason | status | meaning |",
        "|---|---|---|",
        *(
            f"| `{reason}` | `{status}` | {_REASONS[reason]} |"
            for status, reasons in ends.items()
            for reason in reasons
        ),
        "",
    ]


def _attempts() -> list[str]:
    return [
        "## Attempts",
        "",
        "| status | next status |",
        "|---|---|",
        *(f"| `{status}` | {_moves(ATTEMPT_MOVES, status)} |" for status in ATTEMPT_MOVES),
        "",
        "A finished attempt has an `outcome`: `success`, `failed`, `error` or `cancelled`. If its job has",
        "`outputs`, it also has the outputs of its steps. The job's outputs are made from those of its last",
        "attempt.",
        "",
    ]


def _waits() -> list[str]:
    rows = (f"| `{waiting}` | {_WAITS[waiting]} |" for waiting in WaitingFor)
    return ["## What a pending job waits for", "", "| `waiting_for` | meaning |", "|---|---|", *rows, ""]


def messages() -> str:
    """Return the table of docs/messages.md."""
    rows = ["| type | meaning | fields | queues |", "|---|---|---|---|"]
    for kind in typing.get_args(Message):
        fields = [name for name in kind.model_fields if name not in STANDARD_FIELDS]
        said = (
            (kind.__doc__ or "").strip().split("\n")[0]
            if kind.__doc__ and not kind.__doc__.startswith("Base")
            else ""
        )
        rows.append(
            f"| `{kind.model_fields['type'].default}` | {said} | {_words(fields)} | "
            f"{_words(_queues(kind.model_fields['type'].default)) or '-'} |"
        )
    return "\n".join(rows)


def packages() -> str:
    """Return the table of packages in ARCHITECTURE.md: what each does, and which tables it writes."""
    tables = _tables_by_package()
    rows = ["| package | what it does | tables that it writes |", "|---|---|---|"]
    for package in _packages():
        name = package.relative_to(ROOT).as_posix()
        rows.append(f"| `{name}` | {_summary(package)} | {_words(tables.get(name, []))} |")
    return "\n".join(rows)


def cli_version() -> str:
    """Return cli/version.py."""
    title = "The version of the command. `python -m docs.generate` writes this file from `shared.VERSION`."
    return f'"""{title}"""\n\nVERSION = "{VERSION}"\n'


def pipeline_schema() -> str:
    """Return cli/pipeline.schema.json: the JSON Schema of the pipeline language."""
    return json.dumps(json_schema(), indent=2) + "\n"


def with_part(document: str, name: str, text: str) -> str:
    """Return the document with the text between the two marks of this part replaced.

    Raises ValueError if the document has no such marks.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = document.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"the document has no part {name!r}")
    return f"{before}{begin}\n{text}\n{end}{after}"


def documents() -> dict[Path, str]:
    """Return the expected content of each generated file."""
    architecture, bus = ROOT / "ARCHITECTURE.md", ROOT / "docs/messages.md"
    return {
        **{ROOT / "docs" / page: _with_parts(page, parts) for page, parts in LANGUAGE.items()},
        ROOT / "docs/statuses.md": statuses(),
        bus: with_part(bus.read_text(encoding="utf-8"), "messages", messages()),
        architecture: with_part(architecture.read_text(encoding="utf-8"), "packages", packages()),
        ROOT / "cli/version.py": cli_version(),
        ROOT / "cli/pipeline.schema.json": pipeline_schema(),
    }


def _with_parts(page: str, parts: Mapping[str, Callable[[], str]]) -> str:
    document = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for name, make in parts.items():
        document = with_part(document, name, make())
    return document


def _packages() -> Iterator[Path]:
    for name in PACKAGES:
        yield from sorted({path.parent for path in (ROOT / name).rglob("*.py")})


def _summary(package: Path) -> str:
    """Return the first paragraph of the package's docstring."""
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split())


def _tables_by_package() -> dict[str, list[str]]:
    """Return the tables that each package writes, from the comment `-- writer:` above each CREATE TABLE."""
    tables: dict[str, list[str]] = {}
    for path in sorted((ROOT / "shared/database/sql").glob("*.sql")):
        for writer, table in re.findall(
            r"^-- writer: (\w+)[^\n]*\nCREATE TABLE (?:IF NOT EXISTS )?(\w+)",
            path.read_text(encoding="utf-8"),
            flags=re.MULTILINE,
        ):
            package = "shared" if writer in SHARED_WRITERS else f"services/{writer}"
            tables.setdefault(package, []).append(table)
    return {**tables, "shared": [*tables.get("shared", []), "schema_migrations"]}


def _queues(message_type: str) -> list[str]:
    queues = [*topology.FIXED, topology.executor_queue("<cluster>")]
    if message_type == "delivery.kept":  # the gateway names its queue
        return [topology.INLET.name]
    found = [
        queue.name
        for queue in queues
        if any(key.removesuffix(".<cluster>") == message_type for key in queue.keys)
    ]
    live = any(
        key.removesuffix(".#").removesuffix(".*") in {message_type, message_type.partition(".")[0]}
        for key in topology.LIVE_KEYS
    )
    return [*found, "each gateway's own"] if live else found


def _moves(table: Mapping[S, Collection[S]], status: S) -> str:
    return _words(onward for onward in table if onward in table[status]) or "none: terminal"


def _words(words: typing.Iterable[str]) -> str:
    return ", ".join(f"`{word}`" if re.fullmatch(r"[\w.<>]+", word) else word for word in words)


def main() -> None:
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
