"""Tests of invalid pipelines: each mistake has its code and path, and all mistakes are reported together."""

import pytest

from shared.pipeline.compound_rules import List as ListRule
from shared.pipeline.compound_rules import Record, Switchable, Table
from shared.pipeline.grammar import PIPELINE
from shared.pipeline.rules import Rule
from shared.pipeline.values import READONLY_IN_BASH
from tests.unit.shared.pipeline.documents import MINIMAL, codes_in, problems_in, with_job, with_step, with_top

JOB = "jobs.test"
STEP = "jobs.test.steps[0]"
SIXTEEN_TIMES_A = ", ".join(f"A{number}: *a" for number in range(16))


def push(text: str) -> str:
    return MINIMAL.replace("push: {}", text)


def matrix(text: str) -> str:
    """Return a pipeline whose job has this matrix."""
    return with_job(f"matrix: {text}")


def group(text: str) -> str:
    return with_top(f"concurrency: {text}")


def needing(needs: str) -> str:
    return MINIMAL + f"  deploy: {{ needs: {needs}, steps: [{{ run: x }}] }}\n"


REFUSED = [
    # keys
    (with_top("colour: red"), "unknown_key", "colour"),
    (with_job("servces: {}"), "unknown_key", f"{JOB}.servces"),
    (with_step("uses: actions/checkout"), "unknown_key", f"{STEP}.uses"),
    (MINIMAL.replace("version: 1\n", ""), "missing_key", ""),
    (MINIMAL.replace("run: make test", "name: x"), "missing_key", STEP),
    (MINIMAL.partition("jobs:")[0] + "jobs: { a: { image: x } }", "missing_key", "jobs.a"),
    # kinds
    (MINIMAL.replace("version: 1", "version: '1'"), "wrong_type", "version"),
    (MINIMAL.replace("version: 1", "version: 1.0"), "wrong_type", "version"),
    (MINIMAL.replace("push: {}", "push: [main]"), "wrong_type", "on.push"),
    (MINIMAL.replace("{ push: {} }", "[push]"), "wrong_type", "on"),
    (MINIMAL.replace("{ push: {} }", "push"), "wrong_type", "on"),
    (with_top("name:"), "wrong_type", "name"),
    (with_top("name: [a]"), "wrong_type", "name"),
    (with_top("env: { A: }"), "wrong_type", "env.A"),
    (with_top("env: [A=b]"), "wrong_type", "env"),
    (with_step("allow_failure: yes"), "wrong_type", f"{STEP}.allow_failure"),
    (with_job("checkout: 1"), "wrong_type", f"{JOB}.checkout"),
    (MINIMAL.replace("run: make test", "make test"), "wrong_type", STEP),
    # amounts
    (MINIMAL.replace("version: 1", "version: 2"), "out_of_bounds", "version"),
    (with_job("checkout: { depth: -1 }"), "out_of_bounds", f"{JOB}.checkout.depth"),
    (MINIMAL.replace("push: {}", ""), "empty", "on"),
    (push("push: { branches: [] }"), "empty", "on.push.branches"),
    (MINIMAL.partition("jobs:")[0] + "jobs: {}", "empty", "jobs"),
    (MINIMAL.partition("jobs:")[0] + "jobs: { a: { steps: [] } }", "empty", "jobs.a.steps"),
    (MINIMAL.replace("make test", "' '"), "empty_script", f"{STEP}.run"),
    (MINIMAL + "      - run: x\n" * 100, "too_many", f"{JOB}.steps"),
    (MINIMAL + "".join(f"  j{i}: {{ steps: [{{ run: x }}] }}\n" for i in range(100)), "too_many", "jobs"),
    (with_top(f"env: {{ {', '.join(f'A{i}: x' for i in range(101))} }}"), "too_many", "env"),
    (
        MINIMAL.replace("octo/web", f"[{', '.join(f'octo/w{i}' for i in range(51))}]"),
        "too_many",
        "repository",
    ),
    (
        push(f"push: {{ branches: [{', '.join(f'b{i}' for i in range(101))}] }}"),
        "too_many",
        "on.push.branches",
    ),
    (push(f"push: {{ branches: [{'b' * 256}] }}"), "too_long", "on.push.branches[0]"),
    (MINIMAL.replace("make test", "é" * 33_000), "too_long", f"{STEP}.run"),
    (with_top(f"name: {'n' * 201}"), "too_long", "name"),
    (MINIMAL.replace("make test", f"&r {'x' * 60_000}") + "      - run: *r\n" * 8, "too_large", JOB),
    (with_top(f"defaults: {{ env: {{ A: &a {'x' * 32_000}, {SIXTEEN_TIMES_A} }} }}"), "too_large", JOB),
    (with_job("checkout: { submodules: recursiv }"), "wrong_type", f"{JOB}.checkout.submodules"),
    (with_job("checkout: { submodules: 'true' }"), "wrong_type", f"{JOB}.checkout.submodules"),
    (with_job("checkout: { lfs: 1 }"), "wrong_type", f"{JOB}.checkout.lfs"),
    (with_job("checkout: { path: /web }"), "bad_path", f"{JOB}.checkout.path"),
    (with_job("checkout: { path: web/../.. }"), "bad_path", f"{JOB}.checkout.path"),
    (with_job("checkout: { path: ' ' }"), "bad_path", f"{JOB}.checkout.path"),
    (with_job("checkout: { path: true, pth: x }"), "unknown_key", f"{JOB}.checkout.pth"),
    (with_top("defaults: { checkout: { dept: 5 } }"), "unknown_key", "defaults.checkout.dept"),
    (with_top("defaults: { env: { UID: x } }"), "reserved_env_name", "defaults.env.UID"),
    (with_top("defaults: { retry: 2 }"), "wrong_type", "defaults.retry"),
    # names
    (MINIMAL.replace("  test:", "  9lives:"), "bad_name", "jobs.9lives"),
    (MINIMAL.replace("  test:", f"  {'t' * 64}:"), "bad_name", f"jobs.{'t' * 64}"),
    (with_step("id: a.b"), "bad_name", f"{STEP}.id"),
    (with_top("name: ' '"), "bad_title", "name"),
    (with_step("id: a") + "      - { id: a, run: x }\n", "duplicate_id", "jobs.test.steps[1].id"),
    # variables
    (with_top("env: { A-B: c }"), "bad_env_name", "env.A-B"),
    (with_job("env: { 1A: c }"), "bad_env_name", f"{JOB}.env.1A"),
    (with_step("env: { TOWPATH_SHA: c }"), "reserved_env_name", f"{STEP}.env.TOWPATH_SHA"),
    (with_step("env: { OPTIND: c }"), "reserved_env_name", f"{STEP}.env.OPTIND"),
    (with_top(f"env: {{ A: {'é' * 20_000} }}"), "too_long", "env.A"),
    # words
    (push("pull_request: { types: [synchronized] }"), "bad_pull_request_type", "on.pull_request.types[0]"),
    (with_step("shell: zsh"), "bad_shell", f"{STEP}.shell"),
    (with_step("if: alway()"), "unknown_function", f"{STEP}.if"),
    (with_step("working_directory: /srv"), "bad_path", f"{STEP}.working_directory"),
    (with_step("working_directory: web/../.."), "bad_path", f"{STEP}.working_directory"),
    (MINIMAL.replace("octo/web", "web"), "bad_repository", "repository"),
    (push("push: { branches: ['!main'] }"), "bad_glob", "on.push.branches"),
    (push("push: { tags: ['v[1'] }"), "bad_glob", "on.push.tags[0]"),
    (with_job("timeout: 90"), "bad_duration", f"{JOB}.timeout"),
    (with_job("resources: { cpu: lots }"), "bad_cpu", f"{JOB}.resources.cpu"),
    (with_job("resources: { memory: 512m }"), "bad_memory", f"{JOB}.resources.memory"),
    (with_job("image: a b"), "bad_image", f"{JOB}.image"),
    # services, retries, nodes
    (with_job("services: [postgres]"), "wrong_type", f"{JOB}.services"),
    (with_job("services: { db: postgres }"), "wrong_type", f"{JOB}.services.db"),
    (with_job("services: { db: {} }"), "missing_key", f"{JOB}.services.db"),
    *[
        (with_job(f"services: {{ {name}: {{ image: x }} }}"), "bad_service_name", f"{JOB}.services.{name}")
        for name in ("job", "Db", "d_b", "s" * 56)
    ],
    (with_job("services: { db: { image: A B } }"), "bad_image", f"{JOB}.services.db.image"),
    (
        with_job("services: { db: { image: x, env: { A-B: c } } }"),
        "bad_env_name",
        f"{JOB}.services.db.env.A-B",
    ),
    (with_job("services: { db: { image: x, ready: 5432 } }"), "wrong_type", f"{JOB}.services.db.ready"),
    (
        with_job("services: { db: { image: x, ready: { within: 5s } } }"),
        "missing_key",
        f"{JOB}.services.db.ready",
    ),
    *[
        (
            with_job(f"services: {{ db: {{ image: x, ready: {{ tcp: {port} }} }} }}"),
            "out_of_bounds",
            f"{JOB}.services.db.ready.tcp",
        )
        for port in (0, 65536, -1)
    ],
    (
        with_job("services: { db: { image: x, ready: { tcp: 1, within: 2h } } }"),
        "bad_duration",
        f"{JOB}.services.db.ready.within",
    ),
    (
        with_job(f"services: {{ {', '.join(f's{i}: {{ image: x }}' for i in range(21))} }}"),
        "too_many",
        f"{JOB}.services",
    ),
    (
        with_job("services: { db: { image: x, ready: { tcp: 80 } }, web: { image: x, ready: { tcp: 80 } } }"),
        "duplicate_port",
        f"{JOB}.services.web.ready.tcp",
    ),
    (with_job("retry: 2"), "wrong_type", f"{JOB}.retry"),
    (with_job("retry: { infra: 11 }"), "out_of_bounds", f"{JOB}.retry.infra"),
    (with_job("retry: { infra: -1 }"), "out_of_bounds", f"{JOB}.retry.infra"),
    (with_job("retry: { backoff: 10 }"), "bad_duration", f"{JOB}.retry.backoff"),
    (with_job("retry: { backoff: 61m }"), "bad_duration", f"{JOB}.retry.backoff"),
    (with_job("stop_grace: 301s"), "bad_duration", f"{JOB}.stop_grace"),
    (with_job("stop_grace: 30"), "bad_duration", f"{JOB}.stop_grace"),
    (with_job("user: nobody"), "bad_user", f"{JOB}.user"),
    (with_job("kubernetes: {}"), "empty", f"{JOB}.kubernetes"),
    (with_job("cluster: eu"), "wrong_type", f"{JOB}.cluster"),
    (with_job("cluster: {}"), "empty", f"{JOB}.cluster"),
    (with_job("cluster: { region: e u }"), "bad_label", f"{JOB}.cluster.region"),
    (with_job("kubernetes: { node_selector: {} }"), "empty", f"{JOB}.kubernetes.node_selector"),
    (with_job("kubernetes: { node_selector: { -a: b } }"), "bad_label", f"{JOB}.kubernetes.node_selector.-a"),
    (with_job("kubernetes: { node_selector: { a: b/c } }"), "bad_label", f"{JOB}.kubernetes.node_selector.a"),
    (with_job("kubernetes: { tolerations: [] }"), "unknown_key", f"{JOB}.kubernetes.tolerations"),
    # groups
    (group("{}"), "missing_key", "concurrency"),
    (group("{ group: '' }"), "bad_group", "concurrency.group"),
    (group("{ group: 'a ${{ event.branch' }"), "bad_expression", "concurrency.group"),
    (group("{ group: '${{ event.brunch }}' }"), "unknown_name", "concurrency.group"),
    (group("{ group: '${{ matrix.python }}' }"), "wrong_context", "concurrency.group"),
    (group("{ group: '${{ needs.test.result }}' }"), "wrong_phase", "concurrency.group"),
    (group("{ group: '${{ success() }}' }"), "wrong_function", "concurrency.group"),
    (group("{ group: '${{ first(event.branch) }}' }"), "unknown_function", "concurrency.group"),
    (group("{ group: \"${{ format('{', event.ref) }}\" }"), "bad_expression", "concurrency.group"),
    (group("{ group: '${{ }}' }"), "bad_expression", "concurrency.group"),
    (group("{ group: '${{ event.branch || }}' }"), "bad_expression", "concurrency.group"),
    (group("{ group: a, limit: 0 }"), "out_of_bounds", "concurrency.limit"),
    (group("{ group: a, limit: 101 }"), "out_of_bounds", "concurrency.limit"),
    (group("{ group: a, on_new: cancel }"), "bad_on_new", "concurrency.on_new"),
    (group("{ group: a, cancel-in-progress: true }"), "unknown_key", "concurrency.cancel-in-progress"),
    (group("a"), "wrong_type", "concurrency"),
    # the graph
    (needing("[tset]"), "unknown_job", "jobs.deploy.needs[0]"),
    (needing("[deploy]"), "self_need", "jobs.deploy.needs[0]"),
    (needing("[test, test]"), "duplicate_need", "jobs.deploy.needs[1]"),
    (needing("[test]").replace("    steps:", "    needs: deploy\n    steps:"), "cycle", "jobs.test.needs"),
    # expressions
    (with_step("if: event.type = 'push'"), "bad_expression", f"{STEP}.if"),
    (with_step("if: always() ${{ true }}"), "bad_expression", f"{STEP}.if"),
    (with_step("if: steps.tests.outcome == 'failed'"), "unknown_name", f"{STEP}.if"),
    (with_step("allow_failure: ${{ steps.a.outputs.b }}"), "wrong_phase", f"{STEP}.allow_failure"),
    (with_step("if: toJSON(env.A) == 'x'"), "not_in_steps", f"{STEP}.if"),
    (with_step("env: { A: '${{ env.B < 3 }}' }"), "not_in_steps", f"{STEP}.env.A"),
    (with_job("image: python:${{ matrix.python }}"), "unknown_name", f"{JOB}.image"),
    (with_job("if: cancelled()"), "wrong_function", f"{JOB}.if"),
    (with_job("if: secrets.TOKEN == 'x'"), "wrong_phase", f"{JOB}.if"),
    (with_job("if: needs.build.result == 'success'"), "unknown_name", f"{JOB}.if"),
    (with_job("timeout: '${{ '"), "bad_expression", f"{JOB}.timeout"),
    (with_job("needs: ['${{ event.branch }}']"), "no_expression", f"{JOB}.needs[0]"),
    (with_job("checkout: ${{ event.branch }}"), "no_expression", f"{JOB}.checkout"),
    (MINIMAL.replace("make test", "echo ${{ event.title }}"), "wrong_context", f"{STEP}.run"),
    (
        matrix("{ a: ['${{ event.title }}'] }").replace("make test", "echo ${{ matrix.a }}"),
        "event_in_script",
        f"{STEP}.run",
    ),
    # matrices
    (matrix("{}"), "empty", f"{JOB}.matrix"),
    (matrix("{ fail_fast: false }"), "empty", f"{JOB}.matrix"),
    (matrix("{ a: [] }"), "empty", f"{JOB}.matrix.a"),
    (matrix("{ a: 1 }"), "wrong_type", f"{JOB}.matrix.a"),
    (matrix("{ a: [{ b: c }] }"), "wrong_type", f"{JOB}.matrix.a[0]"),
    (matrix("{ a: [1], max_parallel: 0 }"), "out_of_bounds", f"{JOB}.matrix.max_parallel"),
    (matrix("{ a: [1], fail-fast: true }"), "unknown_key", f"{JOB}.matrix.fail-fast"),
    (matrix("{ a.b: [1] }"), "bad_name", f"{JOB}.matrix.a.b"),
    (matrix("{ a: [1, 1] }"), "duplicate_job", f"{JOB}.matrix"),
    (matrix("{ a: [1], exclude: [{ a: 1 }] }"), "empty", f"{JOB}.matrix"),
    (matrix("{ a: [1, 2], exclude: [{ b: 1 }] }"), "unknown_axis", f"{JOB}.matrix.exclude[0].b"),
    (matrix(f"{{ a: {list(range(16))}, b: {list(range(16))} }}"), "too_many", f"{JOB}.matrix"),
    (matrix(f"{{ {', '.join(f'a{n}: [1]' for n in range(11))} }}"), "too_many", f"{JOB}.matrix"),
    (
        matrix(f"{{ a: {list(range(60))} }}")
        + f"  other: {{ matrix: {{ a: {list(range(60))} }}, steps: [{{ run: x }}] }}\n",
        "too_many",
        "jobs",
    ),
    (
        matrix(f"{{ a: {list(range(100))} }}").replace("make test", "echo" + " ${{ matrix.a }}" * 101),
        "too_large",
        "jobs",
    ),
    # secrets
    (with_job("secrets: [lower]"), "bad_secret_name", f"{JOB}.secrets[0]"),
    (with_job("secrets: [TOWPATH_X]"), "reserved_env_name", f"{JOB}.secrets[0]"),
    (with_job("secrets: [PATH]"), "reserved_env_name", f"{JOB}.secrets[0]"),
    (with_job("secrets: [A, A]"), "duplicate_secret", f"{JOB}.secrets[1]"),
    (with_job("secrets: [A]\nenv: { A: x }"), "duplicate_variable", f"{JOB}.secrets[0]"),
    (with_job("env: { A: '${{ secrets.B }}' }"), "unknown_name", f"{JOB}.env.A"),
    (with_job("secrets: [B]\nenv: { A: '${{ secrets[event.type] }}' }"), "computed_secret", f"{JOB}.env.A"),
    (with_job("secrets: [B]\nenv: { A: '${{ toJSON(secrets) }}' }"), "computed_secret", f"{JOB}.env.A"),
    (with_job("secrets: [B]\nimage: '${{ secrets.B }}'"), "wrong_phase", f"{JOB}.image"),
    (with_job("secrets: [B]\nif: secrets.B"), "wrong_phase", f"{JOB}.if"),
    (with_job("secrets: [B]\noutputs: { a: '${{ secrets.B }}' }"), "wrong_context", f"{JOB}.outputs.a"),
    (
        with_job("secrets: [B]\nenv: { A: 'x ${{ secrets.B }}' }\nimage: '${{ env.A }}'"),
        "made_of_secret",
        f"{JOB}.image",
    ),
    (
        with_job("secrets: [B]\nenv: { A: 'x ${{ secrets.B }}' }\noutputs: { a: '${{ env.A }}' }"),
        "made_of_secret",
        f"{JOB}.outputs.a",
    ),
    (with_step("if: secrets.B"), "wrong_context", f"{JOB}.steps[0].if"),
    (with_step("name: '${{ secrets.B }}'"), "wrong_phase", f"{JOB}.steps[0].name"),
    (with_top("env: { A: '${{ secrets.B }}' }"), "wrong_phase", "env.A"),
    (with_top("defaults: { env: { A: '${{ secrets.B }}' } }"), "wrong_phase", f"{JOB}.env.A"),
    # outputs
    (with_job("outputs: { a b: c }"), "bad_name", f"{JOB}.outputs.a b"),
    (with_job("outputs: { a: '${{ steps.x.outputs.y }}' }"), "unknown_name", f"{JOB}.outputs.a"),
    (with_job("retry: { script: 11 }"), "out_of_bounds", f"{JOB}.retry.script"),
    (with_top("priority: 11"), "out_of_bounds", "priority"),
    (with_top("env: { A: '${{ matrix.a }}' }"), "wrong_context", "env.A"),
]


@pytest.mark.parametrize(("text", "code", "path"), REFUSED)
def test_one_mistake_is_one_problem(text: str, code: str, path: str) -> None:
    assert [(problem.code, problem.path) for problem in problems_in(text)] == [(code, path)]


LATER = [
    *[
        (key, MINIMAL.replace("push: {}", f"push: {{}}, {key}: {{}}"), f"on.{key}")
        for key in ("schedule",)
    ],
    *[
        (key, with_job(f"{key}: x"), f"{JOB}.{key}")
        for key in (
            "artifacts", "cache", "reports",
        )
    ],
]  # fmt: skip


@pytest.mark.parametrize(("key", "text", "path"), LATER)
def test_a_key_that_does_nothing_yet_is_refused_by_name(key: str, text: str, path: str) -> None:
    (problem,) = problems_in(text)
    assert (problem.code, problem.path, problem.message) == (
        "not_supported",
        path,
        f'"{key}" is not supported yet',
    )


def later_keys(rule: Rule) -> set[str]:
    match rule:
        case Record():
            return set(rule.later).union(*(later_keys(field) for field in rule.fields.values()))
        case Table():
            return later_keys(rule.value)
        case ListRule():
            return later_keys(rule.item)
        case Switchable():
            return later_keys(rule.record)
        case _:
            return set()


def test_every_later_key_is_tried() -> None:
    assert later_keys(PIPELINE) == {key for key, _, _ in LATER}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (with_job("servces: {}"), 'unknown key. Did you mean "services"?'),
        (with_job("matrx: {}"), 'unknown key. Did you mean "matrix"?'),
        (with_job("secret: {}"), 'unknown key. Did you mean "secrets"?'),
        (with_job("retries: 2"), 'unknown key. Did you mean "retry"?'),
        (with_job("retry: { max: 2 }"), 'unknown key. Did you mean "infra"?'),
        (with_job("services: { db: { image: x, ports: [1] } }"), 'unknown key. Did you mean "ready"?'),
        (with_job("nodeSelector: {}"), 'unknown key. Did you mean "kubernetes"?'),
        (with_job("services: { clone: { image: x } }"), 'the name "clone" is taken by Towpath'),
        (with_job("step: []"), 'unknown key. Did you mean "steps"?'),
        (with_job("runs-on: ubuntu"), 'unknown key. Did you mean "image"?'),
        (with_step("timeout-minutes: 5"), 'unknown key. Did you mean "timeout"?'),
        (with_step("zzz: 5"), "unknown key"),
        (needing("[tset]"), 'there is no job "tset". Did you mean "test"?'),
        (
            push("pull_request: { types: [synchronized] }"),
            '"synchronized" is not a type of pull request event. Did you mean "synchronize"?',
        ),
        (with_step("if: alway()"), "there is no function `alway`"),
        (with_job("timeout: 90"), "a duration needs a unit: s, m, h or d"),
        (MINIMAL.replace("octo/web", "oc*/web"), "a glob may stand in the name part only"),
    ],
)
def test_the_message_names_the_likely_fix(text: str, words: str) -> None:
    assert words in {problem.message for problem in problems_in(text)}


@pytest.mark.parametrize("name", sorted(READONLY_IN_BASH))
def test_a16_a_variable_that_bash_keeps_for_itself_is_refused(name: str) -> None:
    (problem,) = problems_in(with_job(f"env: {{ {name}: c }}"))
    assert (problem.code, problem.path) == ("reserved_env_name", f"{JOB}.env.{name}")
    assert problem.message == f"bash sets {name} itself and lets nobody else"


def test_rule_8_a_time_after_a_stop_that_is_too_long_is_refused_with_its_bounds() -> None:
    (problem,) = problems_in(with_job("stop_grace: 6m"))
    assert (problem.path, problem.message, problem.hint) == (
        f"{JOB}.stop_grace",
        "6m is out of bounds",
        "From 1s to 5m.",
    )


def test_an_unknown_key_is_answered_with_the_allowed_ones() -> None:
    (problem,) = problems_in(with_job("servces: {}"))
    assert problem.hint == (
        "Allowed here: allow_failure, checkout, cluster, env, if, image, kubernetes, matrix, name, needs, "
        "outputs, resources, retry, secrets, services, steps, stop_grace, timeout, user"
    )


def test_event_data_in_a_script_is_answered_with_the_environment() -> None:
    (problem,) = problems_in(MINIMAL.replace("make test", "echo ${{ event.title }}"))
    assert problem.message == "`event` can't be used in `steps[0].run`"
    assert problem.hint == 'The environment has it: write "$TOWPATH_TITLE" in the script.'


def test_another_value_in_a_script_is_answered_with_the_variable_to_set() -> None:
    (problem,) = problems_in(MINIMAL.replace("make test", "echo ${{ env.LEVEL }}"))
    assert problem.hint == (
        'Scripts get values as variables: env: { LEVEL: "${{ env.LEVEL }}" } and "$LEVEL" in the script.'
    )


@pytest.mark.parametrize(
    ("condition", "hint"),
    [
        ("needs.build.result == 'success'", "Known are the jobs that this job lists in `needs`."),
        ("matrix.os == 'linux'", "The job has no matrix."),
        ("env.LEVEL == 'full'", "Known are variables that are set above this level."),
        ("inputs.level == 'full'", "Inputs are defined in `on.manual.inputs`."),
        (
            "event.branch == main",
            "A text has single quotes: 'main'. Allowed here: event, inputs, matrix, env, needs.",
        ),
    ],
)
def test_an_unknown_name_is_answered_with_those_that_are_known(condition: str, hint: str) -> None:
    (problem,) = problems_in(with_job(f"if: {condition}"))
    assert (problem.code, problem.hint) == ("unknown_name", hint)


def test_an_unknown_step_is_answered_with_those_that_are_known() -> None:
    (problem,) = problems_in(with_step("if: steps.tests.outcome == 'failed'"))
    assert problem.hint == "Known are earlier steps of the job that have an `id`."


def test_a_cycle_is_named_along_the_needs() -> None:
    text = MINIMAL.partition("jobs:")[0] + (
        "jobs:\n"
        "  a: { needs: [c, x], steps: [{ run: x }] }\n"
        "  b: { needs: [a], steps: [{ run: x }] }\n"
        "  c: { needs: [b], steps: [{ run: x }] }\n"
        "  x: { needs: [y], steps: [{ run: x }] }\n"
        "  y: { needs: [x], steps: [{ run: x }] }\n"
        "  z: { needs: [x], steps: [{ run: x }] }\n"
    )
    assert [(problem.line, problem.message) for problem in problems_in(text)] == [
        (5, "these jobs wait for one another: a → c → b → a"),
        (8, "these jobs wait for one another: x → y → x"),
    ]


def test_all_problems_are_told_at_once_in_the_order_of_the_text() -> None:
    text = (
        MINIMAL.replace("octo/web", "web").replace("make test", "' '")
        + "        colour: red\n    timeout: soon\n    needs: [nobody]\n"
    )
    assert codes_in(text) == ["bad_repository", "empty_script", "unknown_key", "bad_duration", "unknown_job"]


def test_no_more_than_a_hundred_problems_are_told() -> None:
    assert len(codes_in("\n".join(f"key{i}: 1" for i in range(500)))) == 100
