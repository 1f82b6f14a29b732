"""Tests of the pages about pipelines: their examples load, and they name every key and every error code."""

import re
from pathlib import Path

import pytest

from docs import language, meanings
from shared.events import Event, EventKind, context
from shared.expressions import evaluate, parse
from shared.pipeline.contexts import PHASES
from shared.pipeline.expansion import expand
from shared.pipeline.grammar import PIPELINE
from shared.pipeline.load import load
from tests.unit.shared.pipeline.test_refusals import LATER, REFUSED
from tests.unit.shared.pipeline.test_yaml import READABLE, UNREADABLE

ROOT = Path(__file__).parents[4]
REFERENCE = (ROOT / "docs/pipeline-reference.md").read_text(encoding="utf-8")
EXPRESSIONS = (ROOT / "docs/expressions.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```ya?ml\n(version:.*?)^```", re.DOTALL | re.MULTILINE)
PUSH = context(
    Event(kind=EventKind.PUSH, repository="octo/web", trusted=True, ref="refs/heads/dev", branch="dev")
)


def examples() -> list[tuple[str, str]]:
    """Return each YAML block of the documents that begins with `version:`, with the name of its page."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return [
        (page.name, block)
        for page in sorted(pages)
        for block in re.findall(
            r"^```ya?ml\n(version:.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE
        )
    ]


EXAMPLES = examples()


def test_there_are_examples_on_each_page() -> None:
    assert {page for page, _ in EXAMPLES} >= {"pipeline.md", "pipeline-reference.md", "expressions.md"}


@pytest.mark.parametrize("example", [text for _, text in EXAMPLES], ids=[page for page, _ in EXAMPLES])
def test_every_example_can_run(example: str) -> None:
    planned = expand(load(example), PUSH, {}).jobs
    assert planned
    assert [one.problem for one in planned if one.problem] == []


def test_the_jobs_of_the_matrix_are_those_that_the_page_names() -> None:
    section = REFERENCE.partition("## Matrix\n")[2].partition("\n## ")[0]
    example = section.partition("```yaml\n")[2].partition("```")[0]
    keys = [one.job.key for one in expand(load(example), PUSH, {}).jobs]
    named = re.findall(r"`(test \(.*?\))`", section.replace("\n", " "))
    assert named[: len(keys)] == keys


def test_a_skipped_job_has_the_message_of_the_page() -> None:
    tutorial = (ROOT / "docs/pipeline.md").read_text(encoding="utf-8")
    section = tutorial.partition("\n## If\n")[2]
    example = section.partition("```yaml\n")[2].partition("```")[0].replace("needs: [test]", "")
    (deploy,) = [one for one in expand(load(example), PUSH, {}).jobs if one.job.key == "deploy"]
    assert deploy.condition == section.partition("```text\n")[2].partition("\n```")[0]


def test_every_key_has_a_row_in_the_tables() -> None:
    """The keys of `defaults` are those of jobs, and have no table of their own."""
    rows = set(re.findall(r"^\| \**`([\w-]+)`", language.keys(), re.MULTILINE))
    assert {key for _, key, _, _ in language.keys_of(PIPELINE)} == rows


def test_no_meaning_and_no_default_is_left_of_a_key_that_does_not_exist() -> None:
    paths = {path for path, _, _, _ in language.keys_of(PIPELINE)}
    others = {"jobs.matrix.*", *(path for _, _, path in later_paths())}
    assert set(meanings.MEANINGS) - paths - others == set()
    assert set(meanings.DEFAULTS) - paths - others == set()


def later_paths() -> list[tuple[str, str, str]]:
    """Return the refused keys with the paths of their meanings, which leave out names."""
    return [(key, text, re.sub(r"jobs\.test", "jobs", path)) for key, text, path in LATER]


def test_every_refused_key_is_named() -> None:
    named = set(re.findall(r"^- `[\w.]*?(\w+)`: ", REFERENCE, re.MULTILINE))
    assert {key for key, _, _ in LATER} - named == set()


def test_every_code_is_named() -> None:
    codes = (
        {code for _, code, _ in REFUSED}
        | {code for _, code, _, _ in UNREADABLE}
        | {code for _, code, _, _ in READABLE}
    )
    assert {code for code in codes if f"`{code}`" not in REFERENCE.partition("\n## Errors\n")[2]} == set()


def test_every_code_of_the_sources_is_named() -> None:
    """Codes of expressions, which are written as `code="…"` or stand before a message."""
    folder = ROOT / "shared/expressions"
    codes = {
        code
        for path in folder.glob("*.py")
        for pair in re.findall(r'code="(\w+)"|_problem\(\s*\w+, "(\w+)"', path.read_text(encoding="utf-8"))
        for code in pair
        if code
    }
    assert {"wrong_phase", "not_text", "expression_limit"} <= codes
    assert {code for code in codes if f"`{code}`" not in REFERENCE} == set()


def test_the_comparisons_on_the_page_are_true() -> None:
    section = EXPRESSIONS.partition("\n## Operators\n")[2].partition("\n## ")[0]
    comparisons = re.findall(r"`('[^`]+ [!=]= [^`]+)`", section)
    assert len(comparisons) >= 3
    assert [text for text in comparisons if evaluate(parse(text), {}) is not True] == []


def test_every_context_of_a_phase_is_described() -> None:
    known = frozenset().union(*PHASES.values())
    assert {name for name in known if not re.search(rf"^\| `{name}` \|", EXPRESSIONS, re.MULTILINE)} == set()
    assert {phase for phase in PHASES if f"| *{phase}* |" not in EXPRESSIONS} == set()
