"""Runs with matrices, conditions and script retries over HTTP, as people and the command see them."""

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from tests.harness.installation import Towpath
from tests.harness.oracle import Oracle
from tests.harness.scenes import Document, job, scene
from tests.harness.waiting import until

pytestmark = pytest.mark.pods("verdicts are read from pods")

SUCCESS = ("success", None)
TESTS = ("test (3.10)", "test (3.11)", "test (3.14, true)")


def by_key(run: Document) -> dict[str, Document]:
    return {found["key"]: found for found in run["jobs"]}


def ends(run: Document) -> dict[str, tuple[str, str | None]]:
    """Return the status and reason of each job by its key, and of the run under the empty name."""
    return {
        "": (run["status"], run["reason"]),
        **{found["key"]: (found["status"], found["reason"]) for found in run["jobs"]},
    }


def job_of_tests(oracle: Oracle) -> Document:
    """Return a job for three versions of Python. The newest fails, which is allowed."""
    return job(
        f'echo "python $VERSION"; {oracle.append("$VERSION")}; test "$VERSION" != 3.14',
        env={"VERSION": "${{ matrix.python }}"},
        name="Tests on ${{ matrix.python }}",
        matrix={
            "python": ["3.10", "3.11"],
            "include": [{"python": "3.14", "experimental": True}],
            "fail_fast": False,
        },
        allow_failure="${{ matrix.experimental }}",
    )


def succeeds_at_second_attempt(**fields: Any) -> Document:
    return job('test "$TOWPATH_ATTEMPT" = 2', retry={"script": 1, "backoff": "1s"}, **fields)


def explained(oracle: Oracle) -> dict[str, Document]:
    """Return jobs with all kinds of conditions, and one that succeeds after a retry of its script."""
    return {
        "test": job_of_tests(oracle),
        "deploy": job(
            "true", needs=["test"], **{"if": "needs.test.result == 'success' && event.branch == 'main'"}
        ),
        "notice": job("true", needs=["test"], **{"if": "needs.test.result == 'failed'"}),
        "follows": job("true", needs=["notice"]),
        "tags": job("true", **{"if": "event.type == 'tag'"}),
        "flaky": succeeds_at_second_attempt(),
    }


async def test_a_run_explains_its_matrix_its_conditions_and_its_retries(towpath: Towpath) -> None:
    oracle = towpath.oracle()
    one = await scene(towpath, explained(oracle))
    run = await one.ran(within=60)
    found = by_key(run)

    assert ends(run) == {
        "": SUCCESS,
        "test (3.10)": SUCCESS,
        "test (3.11)": SUCCESS,
        "test (3.14, true)": ("failed", "script_failed"),
        "deploy": SUCCESS,
        "notice": ("skipped", "condition_false"),
        "follows": ("skipped", "condition_false"),
        "tags": ("skipped", "condition_false"),
        "flaky": SUCCESS,
    }
    assert sorted(oracle.lines) == ["3.10", "3.11", "3.14"]
    assert [found[key]["name"] for key in TESTS] == ["Tests on 3.10", "Tests on 3.11", "Tests on 3.14"]
    assert [found[key]["matrix"] for key in TESTS] == [
        {"python": "3.10"},
        {"python": "3.11"},
        {"python": "3.14", "experimental": "true"},
    ]
    assert [key for key, shown in found.items() if shown["allow_failure"]] == ["test (3.14, true)"]
    assert found["deploy"]["needs"] == list(TESTS)
    assert found["deploy"]["condition"] == (
        "if: needs.test.result == 'success' && event.branch == 'main' → true because "
        "needs.test.result = 'success' and event.branch = 'main'"
    )
    assert found["notice"]["message"] == found["notice"]["condition"]
    assert found["notice"]["message"] == (
        "if: needs.test.result == 'failed' → false because needs.test.result = 'success'"
    )
    assert found["follows"]["message"] == "It needs `notice`, which was skipped."
    assert found["tags"]["message"] == "if: event.type == 'tag' → false because event.type = 'push'"
    assert [key for key, shown in found.items() if shown["flaky"]] == ["flaky"]
    attempts = [(attempt["number"], attempt["outcome"]) for attempt in found["flaky"]["attempts"]]
    assert attempts == [(1, "failed"), (2, "success")]
    logs = await asyncio.gather(*(towpath.log(run["id"], quote(key)) for key in TESTS))
    assert logs == [b"python 3.10\n", b"python 3.11\n", b"python 3.14\n"]


async def test_a_matrix_runs_within_its_limit_until_one_of_its_jobs_fails(towpath: Towpath) -> None:
    gate, oracle = towpath.gate(), towpath.oracle()
    wait = f'while {gate.closed()}; do sleep 0.05; done; test "$PART" != b'
    reads_result = {"RESULT": "${{ needs.test.result }}"}
    jobs = {
        "test": job(
            f"{oracle.append('$PART')}; {wait}",
            env={"PART": "${{ matrix.part }}"},
            matrix={"part": ["a", "b", "c", "d"], "max_parallel": 1},
        ),
        "after": job("true", needs=["test"]),
        "report": job('echo "$RESULT"', needs=["test"], env=reads_result, **{"if": "failure()"}),
        "last": job("true", needs=["report", "after"], **{"if": "always()"}),
    }
    one = await scene(towpath, jobs)
    run = await one.started()

    async def first_runs() -> bool:
        return oracle.lines == ["a"]

    await until(first_runs, within=20, what="the first job of the matrix")
    waits = {found["key"]: found["waiting_for"] for found in (await one.run(run["id"]))["jobs"]}
    gate.open()
    run = await towpath.finished(run["id"], within=60, sealed=True)

    assert waits == {
        "test (a)": None,
        **dict.fromkeys(("test (b)", "test (c)", "test (d)"), "max_parallel"),
        **dict.fromkeys(("after", "report", "last"), "dependency"),
    }
    assert ends(run) == {
        "": ("failed", "script_failed"),
        "test (a)": SUCCESS,
        "test (b)": ("failed", "script_failed"),
        "test (c)": ("cancelled", "fail_fast"),
        "test (d)": ("cancelled", "fail_fast"),
        "after": ("skipped", "dependency_failed"),
        "report": SUCCESS,
        "last": SUCCESS,
    }
    assert oracle.lines == ["a", "b"]
    found = by_key(run)
    assert found["test (d)"]["message"] == "`test (b)` of its matrix failed before it had started."
    assert found["report"]["condition"] == "if: failure() → true because failure() = true"
    assert await towpath.log(run["id"], "report") == b"failed\n"


async def test_a_running_job_is_stopped_when_another_one_of_its_matrix_fails(towpath: Towpath) -> None:
    oracle = towpath.oracle()
    script = (
        f'if [ "$PART" = slow ]; then {oracle.append("slow")}; sleep 60; fi; '
        f"until {oracle.spoke()}; do sleep 0.05; done; exit 3"
    )
    test = job(
        script,
        env={"PART": "${{ matrix.part }}"},
        matrix={"part": ["slow", "fails"]},
        retry={"script": 1, "backoff": "1s"},
        allow_failure="${{ matrix.part == 'slow' }}",
    )
    one = await scene(towpath, {"test": test})
    run = await one.ran(within=60)
    assert ends(run) == {
        "": ("failed", "script_failed"),
        "test (slow)": ("cancelled", "fail_fast"),
        "test (fails)": ("failed", "script_failed"),
    }
    found = by_key(run)
    assert [len(found[key]["attempts"]) for key in ("test (slow)", "test (fails)")] == [1, 2]
    stopped = [change for change in run["transitions"] if change["reason"] == "fail_fast"]
    assert [(change["job_id"], change["cause"]) for change in stopped] == [
        (found["test (slow)"]["id"], "fail_fast")
    ]


def writes(step_id: str, output: str, **env: str) -> Document:
    """Return a step that writes this line to its file of outputs."""
    return {"id": step_id, "run": f'echo "{output}" >> "$TOWPATH_OUTPUT"', "env": env}


async def test_outputs_of_jobs_are_variables_of_the_jobs_that_need_them(towpath: Towpath) -> None:
    size_and_os = "${{ matrix.size }}-${{ matrix.os }}"
    jobs = {
        "build": job(
            writes("push", "digest=sha256:1"),
            writes("other", "digest=not declared"),
            outputs={"digest": "${{ steps.push.outputs.digest }}", "none": "${{ steps.push.outputs.x }}"},
        ),
        "pack": job(
            writes("pack", "file=$NAME.tar", NAME=size_and_os),
            matrix={"size": ["big", "small"], "os": ["linux"]},
            outputs={"file": "file ${{ steps.pack.outputs.file }}"},
        ),
        "deploy": job(
            'echo "$DIGEST, $FILE"',
            needs=["build", "pack"],
            env={
                "DIGEST": "${{ needs.build.outputs.digest }}",
                "FILE": "${{ needs.pack.outputs['small, linux'].file }}",
            },
            **{"if": "startsWith(needs.build.outputs.digest, 'sha256:')"},
        ),
    }
    one = await scene(towpath, jobs)
    run = await one.ran()
    found = by_key(run)
    assert ends(run)["deploy"] == SUCCESS, run
    assert {key: shown["outputs"] for key, shown in found.items()} == {
        "build": {"digest": "sha256:1", "none": ""},
        "pack (big, linux)": {"file": "file big-linux.tar"},
        "pack (small, linux)": {"file": "file small-linux.tar"},
        "deploy": {},
    }
    assert await towpath.log(run["id"], "deploy") == b"sha256:1, file small-linux.tar\n"
    assert found["deploy"]["condition"].endswith("needs.build.outputs.digest = 'sha256:1'")


async def test_a_retry_of_what_failed_carries_jobs_of_a_matrix_over_by_key(towpath: Towpath) -> None:
    oracle, broken = towpath.oracle(), towpath.gate()
    script = f'{oracle.append("$VERSION")}; test "$VERSION" = 3.10 || if {broken.closed()}; then false; fi'
    test = job(
        {"run": script, "env": {"VERSION": "${{ matrix.python }}"}},
        writes("last", "version=$VERSION", VERSION="${{ matrix.python }}"),
        matrix={"python": ["3.10", "3.11"], "fail_fast": False},
        outputs={"version": "${{ steps.last.outputs.version }}"},
    )
    outputs = {
        "CARRIED": "${{ needs.test.outputs['3.10'].version }}",
        "AGAIN": "${{ needs.test.outputs['3.11'].version }}",
    }
    deploy = job('echo "$CARRIED $AGAIN"', needs=["test"], env=outputs)
    one = await scene(towpath, {"test": test, "deploy": deploy})
    run = await one.ran()
    assert ends(run) == {
        "": ("failed", "script_failed"),
        "test (3.10)": SUCCESS,
        "test (3.11)": ("failed", "script_failed"),
        "deploy": ("skipped", "dependency_failed"),
    }
    broken.open()

    again = (await one.person.client.post(f"/runs/{run['id']}/retry", {"only": "failed"})).expect(201).json
    again = await towpath.finished(again["id"], sealed=True)

    assert ends(again) == dict.fromkeys(("", "test (3.10)", "test (3.11)", "deploy"), SUCCESS)
    before, after = by_key(run), by_key(again)
    assert after["test (3.10)"]["carried_from"] == before["test (3.10)"]["id"]
    assert (after["test (3.11)"]["carried_from"], after["deploy"]["carried_from"]) == (None, None)
    assert sorted(oracle.lines) == ["3.10", "3.11", "3.11"]
    assert await towpath.log(again["id"], "deploy") == b"3.10 3.11\n"
