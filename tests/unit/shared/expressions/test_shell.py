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
    ExpressionError,
    Node,
    Template,
    Value,
    evaluate,
    parse,
    parse_condition,
    parse_template,
    render,
    to_text,
    truthy,
)
from shared.expressions.shell import FUNCTIONS, condition, require, text
from tests.unit.shared.expressions.strategies import step_nodes, step_values

SHELLS = [
    shell for shell in (["dash"], ["bash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(shell[0])
]
EXPRESSIONS = int(os.environ.get("EXPRESSIONS", "600"))
"""The number of random expressions that are compared."""
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
    ended = case.stopped
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
        for flag in ("failed", "stopped"):
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


cases = st.builds(Case, step_nodes, step_values, st.booleans(), st.booleans())


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


def test_the_agreement_notices_a_difference(folder: Path) -> None:
    case = Case(parse("steps.a.outputs.x == 'main'"), {("output", "a", "x"): "MAIN"}, False, False)
    broken = script_of([case]).replace("set -- $towpath_folded.", "continue")
    assert expected(case) == ("true", "true\n")
    assert [run(shell, broken, folder)[0] for shell in SHELLS] == ["false"] * len(SHELLS)


def only(node: Node, **facts: str) -> Case:
    return Case(node, {("env", name): value for name, value in facts.items()}, False, False)


@pytest.mark.parametrize(
    "value",
    [
        "'; touch pwned; '",
        "$(touch pwned)",
        "`touch pwned`",
        '"; touch pwned; "',
        "\n touch pwned\n",
        "* ? [a-z] ~ \\ ! $'\\x41' ${IFS}",
        "-n",
        "=",
        "!",
        "]",
    ],
)
def test_values_and_constants_are_never_run(folder: Path, value: str) -> None:
    quoted = "'" + value.replace("'", "''") + "'"
    batch = [
        only(parse(f"env.X == {quoted}"), X=value),
        only(parse(f"contains(env.X, {quoted}) && startsWith({quoted}, env.X)"), X=value),
        only(parse(f"env.X || {quoted}"), X=""),
        only(parse(f"{quoted} && env.X"), X=value),
    ]
    for shell in SHELLS:
        said = run(shell, script_of(batch), folder)
        assert said == [part for case in batch for part in expected(case)]
    assert sorted(path.name for path in folder.iterdir()) == ["script"]


def test_long_values_are_compared_in_every_shell(folder: Path) -> None:
    """Folding takes time in proportion to the length: a quadratic one would take minutes here."""
    long = "aB\n" * 21_000
    batch = [
        only(parse("env.X == env.Y"), X=long, Y=long.swapcase()),
        only(parse("env.X == env.Y"), X=long + "é", Y=long.swapcase() + "É"),
        only(parse("contains(env.X, env.Y)"), X=long + "END", Y="b\nend"),
        only(parse("env.X == 3"), X="0" * 60_000 + "3"),
        only(parse("endsWith(env.X, env.Y)"), X=long, Y="x" + long),
    ]
    for shell in SHELLS:
        said = run(shell, script_of(batch), folder)[::2]
        assert said == ["true", "false", "true", "false", "false"]


@pytest.mark.parametrize(("failed", "stopped"), [(False, False), (False, True), (True, False), (True, True)])
def test_status_functions_read_the_state_of_the_driver(folder: Path, failed: bool, stopped: bool) -> None:
    batch = [
        Case(parse(f"{name}()"), {}, failed, stopped)
        for name in ("success", "failure", "always", "cancelled")
    ]
    values = (not failed and not stopped, failed and not stopped, True, stopped)
    for shell in SHELLS:
        assert run(shell, script_of(batch), folder)[::2] == [str(value).lower() for value in values]


@pytest.mark.parametrize(
    "written",
    [
        "failure()",
        "success() && steps.a.outputs.x == 'y'",
        "!cancelled() || contains(env.DB, 'x')",
        "steps.a.conclusion != 'failed'",
        "steps[matrix.step].outputs[matrix.name]",
        "matrix.version < 3 && failure()",
        "toJSON(matrix) == env.X",
        "format('{0}', matrix.x)",
    ],
)
def test_the_closed_set_is_accepted(written: str) -> None:
    require(parse_condition(written))


@pytest.mark.parametrize(
    ("written", "marked", "message", "hint"),
    [
        (
            "steps.a.outputs.n < 3",
            "steps.a.outputs.n < 3",
            '"<" can\'t compare what is known only while steps run',
            "Compute it in a step's script, and compare its output.",
        ),
        (
            "x && format('{0}', env.A)",
            "format('{0}', env.A)",
            "format() can't be used while steps run",
            "Put the values into the text: ${{ … }}-${{ … }}, in env.",
        ),
        ("toJSON(steps)", "toJSON(steps)", "toJSON() can't be used while steps run", "Compute it"),
        ("hash(env.A)", "hash(env.A)", "hash() can't be used while steps run", "Compute it"),
        ("steps.a", "steps.a", "`steps.a` is not a value of a step", "Write steps.<id>.outputs.<name>"),
        ("steps.a.result", "steps.a.result", "`steps.a.result` is not a value", "steps.<id>.outcome"),
        ("steps.a.outputs.x.y", "steps.a.outputs.x.y", "is not a value of a step", "steps.<id>.outcome"),
        ("env", "env", "`env` is not a value of a step", "env.<NAME>"),
        ("steps[env.X].outcome", "steps[env.X].outcome", "a key can't be computed", "Name the key."),
        ("matrix[env.X]", "env.X", None, None),
    ],
)
def test_what_the_driver_cannot_do_is_refused(
    written: str, marked: str, message: str | None, hint: str | None
) -> None:
    with pytest.raises(ExpressionError) as caught:
        require(parse(written))
    error = caught.value
    assert error.code == "not_in_steps"
    if message is not None:
        assert message in error.message
        assert written[error.offset :][: error.length] == marked
    assert hint is None or hint in (error.hint or "")


def test_only_what_is_filled_in_is_compiled() -> None:
    with pytest.raises(ExpressionError, match="`matrix` is not known while steps run"):
        condition(parse("matrix.x == env.Y"), Names())
    with pytest.raises(ExpressionError, match="NUL"):
        text(parse_template("\0${{ env.X }}"), Names(), "shown")
    with pytest.raises(ValueError, match="not the name of a shell variable"):
        text(parse_template("x"), Names(), "a b")


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("env.X == 'ABCDEFGHIJKLMNOPQRSTUVWXYZ'", "abcdefghijklmnopqrstuvwxyz"),
        ("env.X == 123456789012345", "123456789012345"),
        ("env.X == 1234567890123456", "1234567890123456"),
        ("env.X == 1", "0" * 63 + "1"),
        ("env.X == 1", "0" * 64 + "1"),
        ("env.X == NaN", "x"),
        ("env.X == 1e-291", "1e-291"),
        ("env.X == 1e-292", "1e-292"),
        ("env.X == 1e289", "1e289"),
        ("env.X == 1e290", "1e290"),
        ("0 && env.X", "x"),
        ("NaN && env.X", "x"),
        ("0 || env.X", "x"),
        ("contains(env.X, '*A')", "/*a/*"),
        ("env.X == '/* A'", "/* a"),
        ("(env.X == 'a') == (true == (env.X == 'a'))", "a"),
    ],
)
def test_limits_and_rare_values_agree(folder: Path, written: str, value: str) -> None:
    case = only(parse(written), X=value)
    for shell in SHELLS:
        assert run(shell, script_of([case]), folder) == list(expected(case))


@pytest.mark.parametrize("literal", ["3.10", "_text", "a", "-", "{x}", "[0]", "a b", "'", "\n", "$X"])
def test_text_before_and_after_an_expression_stays_as_it_is(folder: Path, literal: str) -> None:
    """A digit, a letter or `_` after a variable of the shell would belong to its name."""
    names = Names()
    setting = f"{names.environment('X')}=value\n"
    for written, expected_text in (
        (literal, literal),
        (f"{literal}${{{{ env.X }}}}{literal}", f"{literal}value{literal}"),
    ):
        code = text(parse_template(written), names, "shown")
        script = f"{FUNCTIONS}\n{setting}{code}\nprintf '%s\\000' \"$shown\"\n"
        for shell in SHELLS:
            assert run(shell, script, folder) == [expected_text], (shell, written)
