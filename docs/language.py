"""Makes the parts of the pages about pipelines that follow from the grammar and from the loader.

`docs.generate` writes them into docs/pipeline-reference.md and docs/expressions.md. A key, a context, a
function or a field of events that has no meaning here raises KeyError, so that nothing stays undocumented.
"""

from collections.abc import Iterator, Mapping, Sequence

from cli.faults import render
from docs.meanings import (
    BAD_DOCUMENTS,
    BAD_KEY,
    CONTEXTS,
    DEFAULTS,
    FUNCTIONS,
    MEANINGS,
    MOMENTS,
    OF_EVENT,
    TITLES,
)
from shared.events import FIELDS
from shared.expressions import Phase
from shared.expressions.functions import ARGUMENTS
from shared.expressions.phases import FIRST_PHASE
from shared.pipeline import grammar
from shared.pipeline.compound_rules import List, ListOrRecord, Record, Switchable, Table
from shared.pipeline.contexts import PHASES, VARIABLES
from shared.pipeline.errors import PipelineInvalid
from shared.pipeline.grammar import PIPELINE
from shared.pipeline.load import load
from shared.pipeline.rules import Choice, Condition, Integer, Rule


def keys_of(rule: Rule, path: str = "") -> Iterator[tuple[str, str, Rule, Record]]:
    """Yield for each key its path, its name, its rule, and the record that has it, in the grammar's order.

    Names of the user's choice have no part in a path: the image of a service is `jobs.services.image`.
    """
    match rule:
        case Record():
            for key, value in rule.fields.items():
                yield f"{path}{key}", key, value, rule
            for key, value in rule.fields.items():
                yield from keys_of(value, f"{path}{key}.")
        case Table():
            yield from keys_of(rule.value, path)
        case List():
            yield from keys_of(rule.item, path)
        case Switchable() | ListOrRecord():
            yield from keys_of(rule.record, path)


def keys() -> str:
    """Return a table for each record of the grammar, with all of its keys."""
    rows: dict[str, list[str]] = {}
    for path, key, rule, record in keys_of(PIPELINE):
        parent = path.removesuffix(key).rstrip(".")
        if parent in TITLES:
            rows.setdefault(parent, []).append(_row(path, key, rule, record))
        if isinstance(rule, Record) and rule.others is not None:
            rows[path] = [f"| any other name | {MEANINGS[f'{path}.*']} | {_others(rule.others)} |"]
    head = ["| key | meaning | value | default | expressions |", "|---|---|---|---|---|"]
    return "\n\n".join(
        "\n".join([f"### {TITLES[parent]}", "", *head, *found]) for parent, found in rows.items()
    )


def _row(path: str, key: str, rule: Rule, record: Record) -> str:
    name = f"**`{key}`**" if key in record.required else f"`{key}`"
    default = "" if key in record.required else DEFAULTS[path]
    return f"| {name} | {MEANINGS[path]} | {_value(rule)} | {default} | {_phase(rule)} |"


def _others(others: Table) -> str:
    return f"{others.value.what} | | {_phase(others.value)}"


def _value(rule: Rule) -> str:
    match rule:
        case Integer():
            value = str(rule.least) if rule.least == rule.most else f"{rule.least} to {rule.most}"
        case Choice():
            value = ", ".join(f"`{word}`" for word in rule.words)
        case List() if isinstance(rule.item, Choice):
            value = f"a list of {_value(rule.item)}"
        case List() if rule.may_be_single and " or a list" not in rule.what:
            value = f"{rule.what}: a list, or one"
        case Condition():
            value = "[an expression](expressions.md#conditions)"
        case Record():
            value = "a mapping"
        case Switchable():
            value = "`true`, `false` or a mapping"
        case _:
            value = rule.what
    return value


def _phase(rule: Rule) -> str:
    """Return the phase of the key's expressions. For lists and tables it is that of their values."""
    phase = getattr(rule, "phase", None)
    if phase is None and isinstance(rule, Table | List):
        return _phase(rule.value if isinstance(rule, Table) else rule.item)
    return "" if phase is None else f"*{phase}*"


def later() -> str:
    """Return the keys that belong to the language but are refused by name."""
    found: dict[str, None] = {}
    for path, key, _, record in keys_of(PIPELINE):
        if not path.startswith("defaults."):  # its keys are those of jobs
            found |= dict.fromkeys(f"`{path.removesuffix(key)}{later}`" for later in record.later)
    return "\n".join(f"- {key}: {MEANINGS[key.strip('`')]}" for key in found)


def phases() -> str:
    """Return the table of phases: the moment of each, and the contexts that it has."""
    rows = ["| phase | is evaluated | contexts |", "|---|---|---|"]
    for phase in (Phase.SAVE, *PHASES):
        contexts = [name for name in FIRST_PHASE if name in PHASES.get(phase, ())]
        shown = ", ".join(f"`{name}`" for name in contexts) or "none: these keys take no expressions"
        rows.append(f"| *{phase}* | {MOMENTS[phase]} | {shown} |")
    return "\n".join(rows)


def contexts() -> str:
    """Return the table of contexts."""
    known = frozenset().union(*PHASES.values()) | grammar.STATIC
    rows = ["| context | known from | what it has |", "|---|---|---|"]
    rows += [
        f"| `{name}` | *{first}* | {CONTEXTS[name]} |" for name, first in FIRST_PHASE.items() if name in known
    ]
    return "\n".join(rows)


def event_fields() -> str:
    """Return the table of the fields of events, with the variable in which a script finds each."""
    rows = ["| field | value | in a script |", "|---|---|---|"]
    for field in FIELDS:
        variable = VARIABLES.get(field)
        shown = f"`${variable}`" if variable else "`$TOWPATH_TRUSTED`" if field == "trusted" else ""
        rows.append(f"| `event.{field}` | {OF_EVENT[field]} | {shown} |")
    return "\n".join(rows)


def functions() -> str:
    """Return the table of functions. `hash` is left out until a key can use it."""
    rows = ["| function | result |", "|---|---|"]
    rows += [f"| `{FUNCTIONS[name][0]}` | {FUNCTIONS[name][1]} |" for name in ARGUMENTS if name != "hash"]
    return "\n".join(rows)


def errors(documents: Sequence[str] = BAD_DOCUMENTS) -> str:
    """Return the errors of some documents as the command shows them."""
    return "\n".join(["```text", *(_shown(document) for document in documents), "```"])


def unknown_key() -> str:
    """Return the error of an unknown key."""
    return errors(BAD_KEY)


def _shown(document: str) -> str:
    try:
        load(document)
    except PipelineInvalid as error:
        faults: list[Mapping[str, object]] = [problem.model_dump() for problem in error.problems]
        return render(faults, document, "pipeline.yml")
    raise ValueError(f"this document has no errors: {document}")
