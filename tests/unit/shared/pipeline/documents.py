"""Pipelines for tests: one complete example, and strategies that generate valid documents."""

import json
from typing import Any

from hypothesis import strategies as st

from shared.pipeline.errors import PipelineInvalid, PipelineProblem
from shared.pipeline.load import load

MINIMAL = """\
version: 1
repository: octo/web
on: { push: {} }
jobs:
  test:
    steps:
      - run: make test
"""


def as_yaml(document: object) -> str:
    """Return the document as JSON, which is valid YAML because non-ASCII characters are not escaped."""
    return json.dumps(document, ensure_ascii=False)


def with_job(lines: str) -> str:
    """Return the minimal pipeline with these lines (with relative indentation) added to its job."""
    return MINIMAL + "".join(f"    {line}\n" for line in lines.splitlines())


def with_step(lines: str) -> str:
    """Return the minimal pipeline with these lines added to its step."""
    return MINIMAL + "".join(f"        {line}\n" for line in lines.splitlines())


def with_top(lines: str) -> str:
    """Return the minimal pipeline with these lines added at the top level."""
    return f"{MINIMAL}{lines}\n"


def problems_in(text: str | bytes) -> tuple[PipelineProblem, ...]:
    """Return the problems of this text, or an empty tuple if it loads."""
    try:
        load(text)
    except PipelineInvalid as invalid:
        return invalid.problems
    return ()


def _differ(ports: list[int]) -> bool:
    return len(set(ports)) == len(ports)


def codes_in(text: str | bytes) -> list[str]:
    return [problem.code for problem in problems_in(text)]


_printable = st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"])
_line = st.text(_printable, min_size=1, max_size=20).filter(lambda text: text.strip() and "${{" not in text)
_name = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,8}", fullmatch=True)
_env = st.dictionaries(
    st.from_regex(r"[A-SU-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True),
    _line | st.integers() | st.booleans() | st.just("") | st.just(3.5),
    max_size=3,
)
_duration = st.sampled_from(["90s", "20m", "1h", "2d"])
_image = st.sampled_from(
    ["python:3.12", "ghcr.io/octo/web", "localhost:5000/a/b_c:1", f"debian@sha256:{'0a' * 32}"]
)
_resources = st.fixed_dictionaries(
    {},
    optional={
        "cpu": st.sampled_from(["500m", 2, 0.5]),
        "memory": st.sampled_from(["1Gi", "512M", 134217728]),
    },
)
_glob_list = st.lists(
    st.sampled_from(["main", "release/**", "v[0-9]*", "**", "!wip/*", "a?"]), min_size=1, max_size=4
).filter(lambda patterns: any(not pattern.startswith("!") for pattern in patterns))
_push = st.none() | st.fixed_dictionaries(
    {}, optional={"branches": _glob_list | st.just("main"), "tags": _glob_list}
)
_types = st.lists(st.sampled_from(["opened", "synchronize", "reopened", "closed"]), min_size=1, max_size=4)
_pull_request = st.none() | st.fixed_dictionaries({}, optional={"branches": _glob_list, "types": _types})
_triggers = st.fixed_dictionaries({}, optional={"push": _push, "pull_request": _pull_request}).filter(bool)
_step = st.fixed_dictionaries(
    {"run": _line | st.lists(_line, min_size=1, max_size=3).map("\n".join)},
    optional={
        "name": _line,
        "env": _env
        | st.fixed_dictionaries(
            {"A": st.sampled_from(["${{ event.title }} ${{ env.B }}", "${{ event.title || env.C }}"])}
        ),
        "timeout": _duration | st.just("${{ event.tag || '5m' }}"),
        "if": st.sampled_from(
            ["success()", "failure()", "always()", "failure() && event.title == env.A", "'x' == event.ref"]
        ),
        "allow_failure": st.booleans(),
        "shell": st.sampled_from(["sh", "bash"]),
        "working_directory": st.sampled_from(["web", "a/b", "."]),
    },
)
_port = st.integers(1, 65535)
_ready = st.fixed_dictionaries({"tcp": _port}, optional={"within": st.sampled_from(["5s", "2m"])})
_service: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"image": _image}, optional={"env": _env, "ready": _ready}
)
_services: st.SearchStrategy[dict[str, Any]] = st.dictionaries(
    st.sampled_from(["db", "cache", "my-web2"]), _service, max_size=3
).filter(
    lambda services: _differ([service["ready"]["tcp"] for service in services.values() if "ready" in service])
)
_labels = st.dictionaries(
    st.sampled_from(["arch", "kubernetes.io/arch"]), st.sampled_from(["arm64", "", True, 3]), min_size=1
)
_checkout: st.SearchStrategy[Any] = st.booleans() | st.fixed_dictionaries(
    {},
    optional={
        "depth": st.integers(0, 50),
        "tags": st.booleans(),
        "lfs": st.booleans(),
        "path": st.sampled_from([".", "web/app"]),
        "submodules": st.booleans() | st.just("recursive"),
    },
)
_retry = st.fixed_dictionaries(
    {},
    optional={
        "infra": st.integers(0, 10),
        "script": st.integers(0, 10),
        "backoff": st.sampled_from(["1s", "1h"]),
    },
)
_scalar = st.sampled_from([3.5, "3.10", 3, True, "a b", "é\u202e", "z" * 120, "${{ event.branch }}"])
_entry = st.fixed_dictionaries({"z": st.sampled_from(["z1", "z2"])}, optional={"x": _scalar})
_matrix: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"x": st.lists(_scalar, min_size=1, max_size=3, unique_by=str)},
    optional={
        "y": st.lists(_scalar, min_size=1, max_size=2, unique_by=str),
        "include": st.lists(_entry, min_size=1, max_size=2, unique_by=str),
        "max_parallel": st.integers(1, 3),
        "fail_fast": st.booleans(),
    },
)
_job = st.fixed_dictionaries(
    {"steps": st.lists(_step, min_size=1, max_size=3)},
    optional={
        "image": _image | st.just("python:${{ event.tag || event.branch }}"),
        "name": st.just("on ${{ event.branch }}"),
        "matrix": _matrix,
        "if": st.sampled_from(["always()", "event.branch == 'main'", "success() && event.tag"]),
        "allow_failure": st.booleans() | st.just("${{ event.branch == 'main' }}"),
        "outputs": st.just({"o": "${{ event.title }}", "p": "fixed"}),
        "env": _env | st.just({"B": "${{ event.message }}", "C": "${{ event.branch }}"}),
        "timeout": _duration | st.just("${{ event.title }}"),
        "checkout": _checkout,
        "stop_grace": st.sampled_from(["1s", "5m"]),
        "resources": _resources,
        "services": _services,
        "retry": _retry,
        "user": st.just("root"),
        "cluster": _labels,
        "kubernetes": st.fixed_dictionaries({"node_selector": _labels}),
    },
)
_group = st.fixed_dictionaries(
    {"group": _line | st.just("${{ event.repository }}:${{ event.pull_request || event.ref || 'none' }}")},
    optional={
        "limit": st.integers(1, 100),
        "on_new": st.sampled_from(["queue", "cancel_older", "keep_latest_pending", "reject"]),
    },
)
_free: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | _line | st.just("${{ x"),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(_name, values, max_size=3),
    max_leaves=6,
)
"""The values of keys that nobody reads."""
_repository = st.sampled_from(["octo/web", "octo/*", "Octo/web-?"])


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Draw any valid pipeline, as data."""
    jobs: dict[str, Any] = draw(st.dictionaries(_name, _job, min_size=1, max_size=4))
    names = list(jobs)
    for index, name in enumerate(names[1:], start=1):
        needs = draw(st.lists(st.sampled_from(names[:index]), unique=True, max_size=3))
        if needs:
            jobs[name]["needs"] = needs
            if draw(st.booleans()):
                jobs[name]["env"] = {"RESULT": f"${{{{ needs.{needs[0]}.result }}}} ${{{{ event.title }}}}"}
    optional = {
        "name": _line,
        "x-anything": _free,
        "concurrency": _group,
        "env": _env,
        "timeout": _duration,
        "defaults": st.fixed_dictionaries(
            {},
            optional={
                "image": _image,
                "timeout": _duration,
                "resources": _resources,
                "env": _env,
                "checkout": _checkout,
                "retry": _retry,
            },
        ),
    }
    required = {
        "version": st.just(1),
        "repository": _repository | st.lists(_repository, min_size=1, max_size=3),
        "on": _triggers,
        "jobs": st.just(jobs),
    }
    return draw(st.fixed_dictionaries(required, optional=optional))
