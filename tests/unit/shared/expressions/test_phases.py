"""The check of expressions by phase: what each key may name, and the messages of likely mistakes."""

import pytest

from shared.expressions import (
    BUILTINS,
    FIRST_PHASE,
    STATUS_FUNCTIONS,
    ExpressionError,
    Phase,
    Rules,
    check,
    contexts_of,
    parse,
    parse_template,
    problems,
)

GROUP = Rules(
    Phase.EVENT,
    "concurrency.group",
    contexts={"event", "inputs"},
    known={"event": {"type": None, "branch": None, "pull_request": {"number": {}}}, "inputs": {}},
)
JOB_IF = Rules(
    Phase.READY,
    "jobs.image.if",
    known={"needs": {"test": {"result": None, "outputs": {"digest": None}}}, "matrix": {}},
    functions=BUILTINS | {"success", "failure", "always"},
)
STEP_IF = Rules(Phase.STEP, "if", known={"steps": {"push": {}}}, functions=BUILTINS | STATUS_FUNCTIONS)


@pytest.mark.parametrize(
    ("phase", "contexts"),
    [
        (Phase.SAVE, set()),
        (Phase.EVENT, {"event", "inputs", "matrix", "env", "run", "job"}),
        (Phase.READY, {"event", "inputs", "matrix", "env", "run", "job", "needs"}),
        (Phase.CLAIM, {"event", "inputs", "matrix", "env", "run", "job", "needs", "secrets"}),
        (Phase.STEP, set(FIRST_PHASE)),
    ],
)
def test_each_phase_knows_the_contexts_of_those_before(phase: Phase, contexts: set[str]) -> None:
    assert set(contexts_of(phase)) == contexts
    for context in FIRST_PHASE:
        codes = [problem.code for problem in problems(parse(f"{context}.x"), Rules(phase))]
        assert codes == ([] if context in contexts else ["wrong_phase"])


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("event.type == 'push' && inputs == ''", GROUP),
        ("event.pull_request.number || event.branch", GROUP),
        ("event[inputs]", GROUP),
        ("needs.test.outputs.digest && failure()", JOB_IF),
        ("needs[matrix].result == 'x'", JOB_IF),
        ("event.anything.at.all", JOB_IF),
        ("cancelled() || steps.push == env.X", STEP_IF),
        ("'just' == 'constants'", Rules(Phase.SAVE)),
    ],
)
def test_what_is_known_has_no_problems(text: str, rules: Rules) -> None:
    assert problems(parse(text), rules) == []
    check(parse(text), rules)


@pytest.mark.parametrize(
    ("text", "rules", "code", "message", "hint"),
    [
        (
            "needs.test.result",
            GROUP,
            "wrong_phase",
            (
                "`needs` is known only when the needed jobs have ended; "
                "`concurrency.group` is evaluated when the event arrives"
            ),
            "Use it in if, env, image or another key of a job that lists the other job in needs.",
        ),
        (
            "steps.push.outputs.x",
            JOB_IF,
            "wrong_phase",
            (
                "`steps` is known only while the job's steps run; "
                "`jobs.image.if` is evaluated when the needed jobs have ended"
            ),
            "Use it in a step's if or env, or in the job's outputs.",
        ),
        (
            "secrets.X",
            JOB_IF,
            "wrong_phase",
            (
                "`secrets` is known only when the job starts; "
                "`jobs.image.if` is evaluated when the needed jobs have ended"
            ),
            "Use it in env of a job that lists the name in `secrets`, or of its steps or services.",
        ),
        (
            "matrix.x",
            GROUP,
            "wrong_context",
            "`matrix` can't be used in `concurrency.group`",
            "Allowed here: event, inputs.",
        ),
        ("event.brnch", GROUP, "unknown_name", "`event` has no `brnch`", "Did you mean `event.branch`?"),
        (
            "event.zzzzz",
            GROUP,
            "unknown_name",
            "`event` has no `zzzzz`",
            "It has: type, branch, pull_request.",
        ),
        (
            "inputs.level",
            GROUP,
            "unknown_name",
            "`inputs` has no `level`",
            "Inputs are defined in `on.manual.inputs`.",
        ),
        (
            "needs.tset.result",
            JOB_IF,
            "unknown_name",
            "`needs` has no `tset`",
            "Did you mean `needs.test`?",
        ),
        (
            "needs.test.outputs.Digest",
            JOB_IF,
            "unknown_name",
            "`needs.test.outputs` has no `Digest`",
            "Did you mean `needs.test.outputs.digest`?",
        ),
        ("evnt.type", GROUP, "unknown_name", "there is no context `evnt`", "Did you mean `event`?"),
        (
            "github.event_name",
            GROUP,
            "unknown_name",
            "there is no context `github`",
            "Did you mean `event.type`?",
        ),
        (
            "github.actor",
            GROUP,
            "unknown_name",
            "there is no context `github`",
            "Did you mean `event.sender`?",
        ),
        (
            "main",
            GROUP,
            "unknown_name",
            "there is no context `main`",
            "A text has single quotes: 'main'. Allowed here: event, inputs.",
        ),
        ("failure", STEP_IF, "unknown_name", "`failure` is a function", "Write failure()."),
        (
            "cancelled()",
            JOB_IF,
            "wrong_function",
            "cancelled() can't be used in `jobs.image.if`",
            "A job's if can use success(), failure() and always(); a step's if also cancelled().",
        ),
        (
            "hash('x')",
            JOB_IF,
            "wrong_function",
            "hash() can't be used in `jobs.image.if`",
            "It belongs to `cache`, which is not supported yet.",
        ),
        (
            "startWith('a', 'b')",
            GROUP,
            "unknown_function",
            "there is no function `startWith`",
            "startsWith()",
        ),
        (
            "hashFiles('x')",
            GROUP,
            "unknown_function",
            "there is no function `hashFiles`",
            "It belongs to `cache`, which is not supported yet.",
        ),
        (
            "fromJSON('1')",
            GROUP,
            "unknown_function",
            "there is no function `fromJSON`",
            "Values keep their types",
        ),
        ("zzzzzzz()", GROUP, "unknown_function", "there is no function `zzzzzzz`", "Allowed here: contains"),
        ("event.type", Rules(Phase.SAVE, "version"), "wrong_phase", "`event` is known only", None),
    ],
)
def test_a_mistake_is_named_with_its_fix(
    text: str, rules: Rules, code: str, message: str, hint: str | None
) -> None:
    [problem] = problems(parse(text), rules)
    assert (problem.code, text[problem.offset :][: problem.length]) == (code, text)
    assert message in problem.message
    assert hint is None or hint in (problem.hint or "")
    with pytest.raises(ExpressionError) as caught:
        check(parse(text), rules)
    assert (caught.value.code, caught.value.message) == (problem.code, problem.message)


def test_all_problems_of_a_template_are_found_in_order() -> None:
    text = "${{ evnt.x }} ${{ contian(event.typ, needs.a) }}"
    found = problems(parse_template(text), GROUP)
    assert [text[problem.offset :][: problem.length] for problem in found] == [
        "evnt.x",
        "contian(event.typ, needs.a)",
        "event.typ",
        "needs.a",
    ]
