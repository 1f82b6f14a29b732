"""Tests of documents as people and their editors write them. docs/scripts.md lists these cases."""

import pytest

from shared.pipeline.load import load
from tests.unit.shared.pipeline.documents import MINIMAL, problems_in

HEAD = MINIMAL.partition("      - run:")[0]


def script_of(text: str) -> str:
    (job,) = load(text).jobs
    (step,) = job.steps
    return step.run


@pytest.mark.parametrize(
    ("text", "script"),
    [
        (
            f"{HEAD}      - run: |\n          echo a\n          echo b\n".replace("\n", "\r\n"),
            "echo a\necho b\n",
        ),
        (f"\ufeff{HEAD}      - run: echo a\n", "echo a"),
        (
            f"{HEAD}      - run: |\n          if true; then\n          \techo a\n          fi\n",
            "if true; then\n\techo a\nfi\n",
        ),
        (
            f"{HEAD}      - run: |\n          #!/usr/bin/env python3\n          echo a\n",
            "#!/usr/bin/env python3\necho a\n",
        ),
        (f"{HEAD}      - run: >-\n          make\n          test\n", "make test"),
        (f"{HEAD}      - run: |-\n          echo '日本 😀'", "echo '日本 😀'"),
        (f'{HEAD}      - run: "echo a\\r\\necho b"\n', "echo a\r\necho b"),
    ],
    ids=[
        "windows line ends",
        "byte order mark",
        "tabs",
        "first line",
        "folded",
        "other scripts",
        "an escape",
    ],
)
def test_a_script_is_what_its_author_sees(text: str, script: str) -> None:
    assert script_of(text) == script


@pytest.mark.parametrize(
    ("run", "code", "hint"),
    [
        ('"echo a\\0b"', "bad_character", None),
        ("echo a\0b", "bad_character", None),
        ("echo ${{ github.sha }}", "unknown_name", "$TOWPATH_SHA"),
        ('""', "empty_script", None),
    ],
    ids=["an escaped NUL", "a NUL", "an expression", "nothing"],
)
def test_what_no_shell_can_run_is_refused_with_its_place(run: str, code: str, hint: str | None) -> None:
    (problem,) = problems_in(f"{HEAD}      - run: {run}\n")
    assert (problem.code, problem.line) == (code, HEAD.count("\n") + 1)
    assert hint is None or hint in (problem.hint or "")
