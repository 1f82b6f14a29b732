"""Tests of valid pipelines: triggers, jobs and steps with their defaults."""

import time
from typing import Any

import pytest
from hypothesis import given, settings

from shared.pipeline.load import load
from shared.pipeline.model import (
    Checkout,
    Job,
    Pipeline,
    PullRequestTrigger,
    PushTrigger,
    Ready,
    Resources,
    Retry,
    Service,
    Step,
    Triggers,
)
from tests.unit.shared.pipeline.documents import MINIMAL, as_yaml, documents, with_job, with_step, with_top

GIB = 1024**3
FULL = """\
version: 1
name: web-ci
repository: [octo/web, "octo/web-*"]
on:
  push:
    branches: [main, "release/**", "!release/old"]
    tags: ["v*"]
  pull_request:
    branches: [main]
    types: [opened, closed]
env: { PIP_DISABLE_PIP_VERSION_CHECK: "1", PYTHON: 3.10, DEBUG: true }
timeout: 2h
defaults: { image: "python:3.12", timeout: 20m, resources: { cpu: 500m, memory: 1Gi } }
jobs:
  lint:
    checkout: { depth: 50 }
    steps:
      - run: ruff check .
  test:
    needs: [lint]
    image: ghcr.io/octo/web:ci
    timeout: 90s
    checkout: false
    resources: { memory: 512Mi }
    env: { DB: "postgres://db" }
    services:
      db: { image: "postgres:16", env: { POSTGRES_PASSWORD: x }, ready: { tcp: 5432, within: 2m } }
      cache: { image: redis }
    retry: { infra: 2, backoff: 30s }
    user: root
    kubernetes: { node_selector: { kubernetes.io/arch: arm64, ssd: true } }
    cluster: { region: eu }
    steps:
      - run: pip install -e .[test]
      - id: tests
        name: the tests
        run: |
          pytest \\
            --junitxml=report.xml
        timeout: 10m
        env: { LEVEL: 3 }
        allow_failure: true
        shell: bash
        working_directory: web/app
      - name: what went wrong
        if: failure()
        run: cat debug.log
"""


def job(text: str) -> Job:
    (only,) = load(text).jobs
    return only


def step(text: str) -> Step:
    (only,) = job(text).steps
    return only


def push(text: str) -> PushTrigger | None:
    return load(MINIMAL.replace("push: {}", text)).on.push


def test_a_full_pipeline_says_what_was_written() -> None:
    pipeline = load(FULL)
    assert pipeline.name == "web-ci"
    assert pipeline.repositories == ("octo/web", "octo/web-*")
    assert pipeline.on == Triggers(
        push=PushTrigger(branches=("main", "release/**", "!release/old"), tags=("v*",)),
        pull_request=PullRequestTrigger(branches=("main",), types=("opened", "closed")),
    )
    assert pipeline.env == {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHON": "3.10", "DEBUG": "true"}
    assert pipeline.timeout_seconds == 7200
    lint, test = pipeline.jobs
    assert lint == Job(
        name="lint",
        image="python:3.12",
        steps=(Step(run="ruff check ."),),
        timeout_seconds=1200,
        checkout=Checkout(depth=50),
        resources=Resources(cpu_millis=500, memory_bytes=GIB),
    )
    assert (test.image, test.needs) == ("ghcr.io/octo/web:ci", ("lint",))
    assert (test.timeout_seconds, test.checkout) == (90, None)
    assert test.resources == Resources(cpu_millis=500, memory_bytes=GIB // 2)
    assert test.env == {"DB": "postgres://db"}
    assert test.services == {
        "db": Service(
            image="postgres:16", env={"POSTGRES_PASSWORD": "x"}, ready=Ready(tcp=5432, within_seconds=120)
        ),
        "cache": Service(image="redis"),
    }
    assert (test.retry, test.user) == (Retry(infra=2, backoff_seconds=30), "root")
    assert test.cluster == {"region": "eu"}
    assert test.node_selector == {"kubernetes.io/arch": "arm64", "ssd": "true"}
    assert test.steps[1].model_dump() == {
        "id": "tests",
        "name": "the tests",
        "run": "pytest \\\n  --junitxml=report.xml\n",
        "env": {"LEVEL": "3"},
        "timeout_seconds": 600,
        "condition": "success",
        "allow_failure": True,
        "shell": "bash",
        "working_directory": "web/app",
    }
    assert test.steps[2].condition == "failure"


def test_what_is_not_said_has_a_sane_default() -> None:
    pipeline = load(MINIMAL)
    assert pipeline == Pipeline(
        version=1,
        repositories=("octo/web",),
        on=Triggers(push=PushTrigger(), pull_request=None),
        timeout_seconds=6 * 3600,
        jobs=(
            Job(
                name="test",
                image=None,
                steps=(Step(run="make test"),),
                timeout_seconds=3600,
                checkout=Checkout(depth=1),
            ),
        ),
    )


def test_a_run_lasts_as_long_as_its_longest_job_may() -> None:
    assert load(with_job("timeout: 1d")).timeout_seconds == 24 * 3600
    assert load(with_job("timeout: 1d").replace("jobs:", "timeout: 2h\njobs:")).timeout_seconds == 2 * 3600


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("push:", PushTrigger(branches=None, tags=None)),
        ("push: {}", PushTrigger(branches=None, tags=None)),
        ("push: { branches: main }", PushTrigger(branches=("main",), tags=None)),
        ("push: { tags: ['v*'] }", PushTrigger(branches=None, tags=("v*",))),
        ("pull_request:", None),
    ],
)
def test_a_push_trigger_keeps_what_was_left_out_apart_from_what_was_said(
    written: str, expected: PushTrigger | None
) -> None:
    assert push(written) == expected


def test_a_pull_request_runs_when_opened_or_changed() -> None:
    triggers = load(MINIMAL.replace("push: {}", "pull_request: {}")).on
    assert triggers.pull_request == PullRequestTrigger(
        branches=None, types=("opened", "synchronize", "reopened")
    )


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{ tags: true }", Checkout(depth=1, tags=True)),
        ("{ depth: 0 }", Checkout(depth=0, tags=True)),
        ("{ depth: 0, tags: false }", Checkout(depth=0, tags=False)),
    ],
)
def test_a05_tags_come_with_the_whole_history_or_by_wish(written: str, expected: Checkout) -> None:
    assert job(with_job(f"checkout: {written}")).checkout == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("true", Checkout()),
        ("{}", Checkout()),
        ("false", None),
        ("{ depth: 7 }", Checkout(depth=7)),
        ("{ path: web/app }", Checkout(path="web/app")),
        ("{ submodules: recursive }", Checkout(submodules="recursive")),
        ("{ submodules: true }", Checkout(submodules=True)),
        ("{ lfs: true }", Checkout(lfs=True)),
        ("{ submodules: false }", Checkout()),
    ],
)
def test_checkout_is_on_unless_switched_off(written: str, expected: Checkout | None) -> None:
    assert job(with_job(f"checkout: {written}")).checkout == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{}", Retry(infra=0, backoff_seconds=10)),
        ("{ infra: 3 }", Retry(infra=3, backoff_seconds=10)),
        ("{ backoff: 1h }", Retry(backoff_seconds=3600)),
    ],
)
def test_infrastructure_is_retried_as_often_as_was_said(written: str, expected: Retry) -> None:
    assert job(with_job(f"retry: {written}")).retry == expected


def test_resources_may_have_expressions() -> None:
    found = job(with_job("resources: { memory: '${{ event.branch }}' }"))
    assert found.templates == {"resources.memory": "${{ event.branch }}"}


def with_defaults(defaults: str, written: str = "image: x") -> str:
    return with_job(written).replace("jobs:", f"defaults: {{ {defaults} }}\njobs:")


@pytest.mark.parametrize(
    ("defaults", "written", "expected"),
    [
        ("checkout: { depth: 0 }", "image: x", Checkout(depth=0, tags=True)),
        ("checkout: { depth: 0 }", "checkout: true", Checkout(depth=0, tags=True)),
        ("checkout: { depth: 0 }", "checkout: { depth: 5 }", Checkout(depth=5, tags=False)),
        ("checkout: { depth: 0, tags: false }", "checkout: {}", Checkout(depth=0, tags=False)),
        ("checkout: { tags: true }", "checkout: { depth: 5 }", Checkout(depth=5, tags=True)),
        ("checkout: { depth: 0 }", "checkout: false", None),
        ("checkout: false", "image: x", None),
        ("checkout: false", "checkout: true", Checkout()),
        ("checkout: false", "checkout: { depth: 5 }", Checkout(depth=5)),
    ],
)
def test_a_jobs_checkout_takes_precedence_over_the_default_key_by_key(
    defaults: str, written: str, expected: Checkout | None
) -> None:
    assert job(with_defaults(defaults, written)).checkout == expected


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("image: x", Retry(infra=2, backoff_seconds=60)),
        ("retry: {}", Retry(infra=2, backoff_seconds=60)),
        ("retry: { infra: 0 }", Retry(infra=0, backoff_seconds=60)),
        ("retry: { backoff: 5s }", Retry(infra=2, backoff_seconds=5)),
    ],
)
def test_a_jobs_retry_takes_precedence_over_the_default_key_by_key(written: str, expected: Retry) -> None:
    assert job(with_defaults("retry: { infra: 2, backoff: 1m }", written)).retry == expected


def test_variables_of_the_defaults_are_below_the_jobs_and_above_the_pipelines() -> None:
    text = with_defaults("env: { A: defaults, B: defaults }", "env: { B: job }")
    pipeline = load(text.replace("jobs:", "env: { A: pipeline, C: pipeline }\njobs:"))
    assert pipeline.env == {"A": "pipeline", "C": "pipeline"}
    assert pipeline.jobs[0].env == {"A": "defaults", "B": "job"}


def test_rule_8_a_job_may_have_its_own_time_after_a_stop() -> None:
    assert job(MINIMAL).stop_grace_seconds is None
    assert job(with_job("stop_grace: 5m")).stop_grace_seconds == 300


def test_a_service_has_a_minute_to_become_ready() -> None:
    (service,) = job(with_job("services: { db: { image: x, ready: { tcp: 1 } } }")).services.values()
    assert service.ready == Ready(tcp=1, within_seconds=60)


@pytest.mark.parametrize("written", ["success()", "failure()", "cancelled()", "always()", "' always() '"])
def test_a_step_runs_by_its_condition(written: str) -> None:
    assert step(with_step(f"if: {written}")).condition == written.strip("' ")[:-2]


def test_needs_may_be_a_single_name() -> None:
    pipeline = load(MINIMAL + "  deploy: { needs: test, steps: [{ run: ./deploy }] }\n")
    assert [job.needs for job in pipeline.jobs] == [(), ("test",)]


def test_jobs_keep_the_order_of_the_document() -> None:
    names = [f"j{number}" for number in (3, 1, 2)]
    text = MINIMAL + "".join(f"  {name}: {{ steps: [{{ run: x }}] }}\n" for name in names)
    assert [job.name for job in load(text).jobs] == ["test", *names]


def test_text_may_look_like_anything() -> None:
    env = load(with_top("env: { A: on, B: 0x1F, C: 1e3, D: '', E: 2026-11-23, F: ~x }")).env
    assert env == {"A": "on", "B": "0x1F", "C": "1e3", "D": "", "E": "2026-11-23", "F": "~x"}


@given(documents())
@settings(max_examples=40)
def test_a_right_document_loads_and_survives_storage(document: dict[str, Any]) -> None:
    pipeline = load(as_yaml(document))
    assert [job.name for job in pipeline.jobs] == list(document["jobs"])
    assert Pipeline.model_validate(pipeline.model_dump(mode="json")) == pipeline
    assert Pipeline.model_validate_json(pipeline.model_dump_json()) == pipeline


def test_a_stored_pipeline_with_a_field_of_a_later_release_can_be_read() -> None:
    stored = load(MINIMAL).model_dump(mode="json") | {"colour": "red"}
    assert Pipeline.model_validate(stored) == load(MINIMAL)


def test_a_job_stored_before_it_could_have_services_can_be_read() -> None:
    stored = {"name": "test", "steps": [{"run": "make test"}]}
    assert Job.model_validate(stored) == job(MINIMAL)
    assert (
        job(MINIMAL).services,
        job(MINIMAL).retry.infra,
        job(MINIMAL).user,
        job(MINIMAL).node_selector,
    ) == ({}, 0, None, {})


@pytest.mark.alone("measures processor time")
def test_a_page_loads_in_milliseconds() -> None:
    page = FULL + "".join(f"  extra{i}: {{ needs: [test], steps: [{{ run: x }}] }}\n" for i in range(10))

    def seconds() -> float:
        start = time.process_time()
        load(page)
        return time.process_time() - start

    assert min(seconds() for _ in range(5)) < 0.03
