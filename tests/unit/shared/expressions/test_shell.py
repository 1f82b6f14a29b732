"""Compiled expressions: they agree with the evaluator in every shell, and refuse what the driver can't do."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.expressions import (
    Expression,
    Node,
    Template,
    Value,
    evaluate,
    render,
    to_text,
    truthy,
)
from shared.expressions.shell import FUNCTIONS, condition, text
from tests.unit.shared.expressions.strategies import step_nodes, step_values

SHELLS = [
    shell for shell in (["dash"], ["bash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(shell[0])
]
EXPRESSIONS = int(os.environ.get("EXPRESSIONS", "600"))
"""How many random expressions are compared. 10,000 take about two minutes."""
BATCH = 20

Fact = tuple[str, ...]
"""The name of a value that steps set: `("output", "a", "x")`, `("a", "outcome")` or `("env", "DB")`."""


class Names:
    """Variables as a driver might call them."""

    def output(self, step: str, name: str) -> str:
        return "out_" + "_".join(f"{byte:02x}" for byte in f"{step}.{name}".encode())

    def outcome(self, step: str) -> str:
        return f"outcome_{step}"

    def conclusion(self, step: str) -> str:
        return f"conclusion_{step}"

    def environment(self, name: str) -> str:
        return f"env_{name}"


class Case(NamedTuple):
    node: Node
    facts: Mapping[Fact, str]
    failed: bool
    stopped: bool
    over: bool


def contexts_of(case: Case) -> dict[str, Value]:
    steps: dict[str, dict[str, Value]] = {step: {"outputs": {}} for step in "ab"}
    environment: dict[str, Value] = {}
    for fact, value in case.facts.items():
        match fact:
            case ("output", step, name):
                outputs = steps[step]["outputs"]
                assert isinstance(outputs, dict)
                outputs[name] = value
            case ("env", name):
                environment[name] = value
            case (step, result):
                steps[step][result] = value
    return {"steps": steps, "env": environment}


def functions_of(case: Case) -> dict[str, Value]:
    ended = case.stopped or case.over
    return {
        "success": not case.failed and not ended,
        "failure": case.failed and not ended,
        "always": True,
        "cancelled": ended,
    }


def expected(case: Case) -> tuple[str, str]:
    contexts = contexts_of(case)
    functions = {name: (lambda value=value: value) for name, value in functions_of(case).items()}
    shown = render(Template((Expression(case.node), "\n")), contexts, functions)
    return ("true" if truthy(evaluate(case.node, contexts, functions)) else "false"), shown


def script_of(cases: Sequence[Case]) -> str:
    names = Names()
    lines = [FUNCTIONS]
    every = {fact for case in cases for fact in case.facts}
    for case in cases:
        lines += [f"unset {_variable(fact, names)}" for fact in sorted(every)]
        lines += [f"{_variable(fact, names)}={shlex.quote(value)}" for fact, value in case.facts.items()]
        for flag in ("failed", "stopped", "over"):
            lines.append(f"towpath_{flag}={'yes' if getattr(case, flag) else 'no'}")
        lines.append(
            f"if {condition(case.node, names)}; then printf 'true\\000'; else printf 'false\\000'; fi"
        )
        lines.append(text(Template((Expression(case.node), "\n")), names, "shown"))
        lines.append("printf '%s\\000' \"$shown\"")
    return "\n".join(lines) + "\n"


def _variable(fact: Fact, names: Names) -> str:
    match fact:
        case ("output", step, name):
            return names.output(step, name)
        case ("env", name):
            return names.environment(name)
        case (step, "outcome"):
            return names.outcome(step)
        case _:
            return names.conclusion(fact[0])


def run(shell: Sequence[str], script: str, folder: Path, locale: str = "C.UTF-8") -> list[str]:
    """Run the script without any program in its path. Return what it printed, in parts."""
    file = folder / "script"
    file.write_bytes(script.encode())
    program = shutil.which(shell[0])
    assert program is not None
    ran = subprocess.run(
        [program, *shell[1:], str(file)],
        env={"PATH": "/nonexistent", "LC_ALL": locale},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    return ran.stdout.decode().split("\0")[:-1]


cases = st.builds(Case, step_nodes, step_values, st.booleans(), st.booleans(), st.booleans())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("expressions")


@settings(
    max_examples=max(EXPRESSIONS // BATCH, 1),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
@given(batch=st.lists(cases, min_size=BATCH, max_size=BATCH))
@pytest.mark.timeout(1200)
def test_compiled_expressions_agree_with_the_evaluator(folder: Path, batch: list[Case]) -> None:
    script = script_of(batch)
    said = {f"{' '.join(shell)}": run(shell, script, folder) for shell in SHELLS}
    said["bash in C"] = run(["bash"], script, folder, "C")
    for number, case in enumerate(batch):
        result = expected(case)
        for shell, parts in said.items():
            assert tuple(parts[2 * number : 2 * number + 2]) == result, (shell, to_text(case.node), case)
