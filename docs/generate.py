"""`python -m docs.generate`: writes the parts of the documents that follow from the code, so that they are
never wrong.

These are docs/statuses.md, the table of docs/messages.md, and the code map of ARCHITECTURE.md. A test
compares each with what stands there. It also writes the two files that `cli/` needs from `shared`, which the
command's own wheel does not contain.
"""

import ast
import json
import re
import typing
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

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
PACKAGES = ("services", "shared", "cli", "devstack")
S = typing.TypeVar("S", Status, AttemptStatus)
STANDARD_FIELDS = {"type", "id", "occurred_at", "traceparent"}

_REASONS = {
    "script_failed": "a step ended with another exit code than 0",
    "timed_out": "the job's time was over",
    "oom_killed": "it used more memory than it may",
    "service_failed": "a service of the job did not become ready, or ended",
    "evicted": "the node needed its room",
    "preempted": "something more important took its place",
    "node_lost": "the machine it ran on is gone",
    "image_missing": "there is no such image",
    "image_auth": "the registry does not give the image to us",
    "image_registry": "the registry does not answer",
    "unschedulable": "no node fits",
    "quota": "the namespace is full",
    "start_timed_out": "it was not ready to start in time",
    "config_invalid": "the cluster refuses what was asked for",
    "clone_failed": "the commit could not be fetched",
    "lost": "it started, and no evidence of its end is left",
    "platform": "Towpath or the cluster could not do its part; the message says what",
    "cancelled_by_user": "somebody cancelled it",
    "superseded": "something newer took its place",
    "rejected": "it was not approved, or its group takes no more",
    "dependency_failed": "a job that it needs did not succeed",
    "condition_false": "its `if` is false",
}
_WAITS = {
    "approval": "somebody to approve it",
    "dependency": "jobs that it needs",
    "slot": "a free slot; the run shows how many jobs are before it",
    "group": "its place in its concurrency group",
    "quota": "room in the namespace",
    "node": "a node that fits",
    "image": "its image",
    "retry_backoff": "the pause before the next attempt",
}


def statuses() -> str:
    """docs/statuses.md."""
    ends = {
        status: sorted(REASONS_OF.get(status, ()), key=list(_REASONS).index)
        for status in MOVES
        if status in TERMINAL
    }
    return "\n".join(
        [
            "# Statuses and reasons",
            "",
            "Made from `shared/statuses.py` by `python -m docs.generate`;",
            "a test keeps this page, the code and the database's types in agreement.",
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
        "| status | may become | reasons |",
        "|---|---|---|",
        *(f"| `{status}` | {_moves(MOVES, status)} | {_words(ends.get(status, []))} |" for status in MOVES),
        "",
        "Terminal statuses never change. A job stays `pending` until the claim of its attempt is stored;",
        "`running` means claimed. A fact may arrive before the one that it follows, so `pending` may go",
        "straight to an end. Only a job goes back from `running` to `pending`: when the cluster lost its",
        "attempt and `retry: { infra }` gives it another.",
        "",
    ]


def _reasons(ends: Mapping[Status, Sequence[Reason]]) -> list[str]:
    return [
        "## Reasons",
        "",
        "Every end but `success` has exactly one. Those that need a cluster or a cgroup (`oom_killed` …",
        "`quota`) are not given by the local cluster.",
        "",
        "| reason | of | means |",
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
        "| status | may become |",
        "|---|---|",
        *(f"| `{status}` | {_moves(ATTEMPT_MOVES, status)} |" for status in ATTEMPT_MOVES),
        "",
        "What became of a finished attempt is its `outcome`: `success`, `failed`, `error` or `cancelled`.",
        "",
    ]


def _waits() -> list[str]:
    rows = (f"| `{waiting}` | {_WAITS[waiting]} |" for waiting in WaitingFor)
    return ["## What a pending job waits for", "", "| `waiting_for` | means |", "|---|---|", *rows, ""]


def messages() -> str:
    """The table of docs/messages.md."""
    rows = ["| type | means | fields | queues |", "|---|---|---|---|"]
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


def code_map() -> str:
    """The modules of each package with the first sentence of what they say of themselves."""
    parts = []
    for package in _packages():
        modules = [path for path in sorted(package.glob("*.py")) if path.name != "__init__.py"]
        name = package.relative_to(ROOT).as_posix()
        parts += [f"#### `{name}/`", "", _sentence(package / "__init__.py"), ""]
        parts += [f"- `{path.relative_to(ROOT).as_posix()}`: {_sentence(path)}" for path in modules]
        parts += [""] if modules else []
    return "\n".join(parts).rstrip()


def cli_version() -> str:
    """cli/version.py."""
    title = "The version of the command. `python -m docs.generate` writes this file from `shared.VERSION`."
    return f'"""{title}"""\n\nVERSION = "{VERSION}"\n'


def pipeline_schema() -> str:
    """cli/pipeline.schema.json: the JSON Schema of the pipeline language."""
    return json.dumps(json_schema(), indent=2) + "\n"


def with_part(document: str, name: str, text: str) -> str:
    """The document with what stands between the marks of this part replaced."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, _, rest = document.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise ValueError(f"the document has no part {name!r}")
    return f"{before}{begin}\n{text}\n{end}{after}"


def documents() -> dict[Path, str]:
    """Each file that is made from the code, as it has to be."""
    architecture, bus = ROOT / "ARCHITECTURE.md", ROOT / "docs/messages.md"
    return {
        ROOT / "docs/statuses.md": statuses(),
        bus: with_part(bus.read_text(encoding="utf-8"), "messages", messages()),
        architecture: with_part(architecture.read_text(encoding="utf-8"), "code map", code_map()),
        ROOT / "cli/version.py": cli_version(),
        ROOT / "cli/pipeline.schema.json": pipeline_schema(),
    }


def _packages() -> Iterator[Path]:
    for name in PACKAGES:
        yield from sorted({path.parent for path in (ROOT / name).rglob("*.py")})


def _sentence(module: Path) -> str:
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(text.split("\n\n")[0].split())
    return re.sub(r"^`python -m [\w.]+[^`]*`: ", "", paragraph)


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
    return _words(onward for onward in table if onward in table[status]) or "nowhere: terminal"


def _words(words: typing.Iterable[str]) -> str:
    return ", ".join(f"`{word}`" if re.fullmatch(r"[\w.<>]+", word) else word for word in words)


def main() -> None:
    for path, text in documents().items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
