"""Tests of `if: !failure()`: YAML reads it as a tag, and there is one error with the fix."""

import pytest

from tests.unit.shared.pipeline.documents import MINIMAL, problems_in, with_job


@pytest.mark.parametrize("condition", ["!failure()", "!cancelled()"])
def test_a_condition_that_begins_with_a_tag_has_one_error_with_the_fix(condition: str) -> None:
    [problem] = problems_in(MINIMAL.replace("run: make test", f"run: make test\n        if: {condition}"))
    assert problem.code == "yaml_tag"
    assert problem.hint is not None
    assert problem.hint.startswith('A value that begins with "!" needs quotes.')
    assert f'if: "{condition}"' in problem.hint


def test_a_tagged_value_of_another_key_has_its_own_problems_too() -> None:
    codes = [problem.code for problem in problems_in(with_job("timeout: !soon 20m"))]
    assert codes[0] == "yaml_tag"
