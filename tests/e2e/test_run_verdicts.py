"""The ends of real jobs over HTTP. Each way to end has its own reason.

Steps, needs and checkouts behave as the pipeline defines them.
"""

import asyncio
import hashlib
from pathlib import Path

import pytest

from tests.harness.git import GitRepository
from tests.harness.github import ZERO, new_sha, push
from tests.harness.installation import Towpath
from tests.harness.oracle import Oracle
from tests.harness.scenes import Document, Scene, document, event_of, job, jobs_of, scene, steps_of

pytestmark = pytest.mark.pods("verdicts are read from pods")


def ends(run: Document) -> dict[str, tuple[str, str | None]]:
    """Return the status and reason of each job, and of the run under the empty name."""
    return {
        "": (run["status"], run["reason"]),
        **{found["name"]: (found["status"], found["reason"]) for found in run["jobs"]},
    }


async def test_a_failed_job_skips_those_that_need_it_and_no_other(towpath: Towpath) -> None:
    jobs = {
        "bad": job("exit 3"),
        "after": job("true", needs=["bad"]),
        "after that": job("true", needs=["after"]),
        "beside": job("true"),
    }
    one = await scene(towpath, {name.replace(" ", "-"): found for name, found in jobs.items()})
    run = await one.ran()
    assert ends(run) == {
        "": ("failed", "script_failed"),
        "bad": ("failed", "script_failed"),
        "after": ("skipped", "dependency_failed"),
        "after-that": ("skipped", "dependency_failed"),
        "beside": ("success", None),
    }
    assert jobs_of(run)["bad"]["attempts"][0]["exit_code"] == 3
    assert jobs_of(run)["after"]["attempts"] == []


async def test_a_failed_step_ends_the_job_but_for_steps_that_ask_for_it(towpath: Towpath) -> None:
    steps: list[Document] = [
        {"name": "first", "run": "echo first"},
        {"name": "tolerated", "run": "false", "allow_failure": True},
        {"name": "not yet", "if": "failure()", "run": "echo not yet"},
        {"name": "breaks", "run": "echo breaks; exit 7"},
        {"name": "left out", "run": "echo left out"},
        {"name": "what went wrong", "if": "failure()", "run": "echo what went wrong"},
        {"name": "at last", "if": "always()", "run": "echo at last"},
    ]
    one = await scene(towpath, {"only": {"checkout": False, "steps": steps}})
    run = await one.ran()
    outcomes = dict(steps_of(run, "only"))
    assert ends(run)["only"] == ("failed", "script_failed")
    assert {name: outcome for name, outcome in outcomes.items() if outcome != "skipped"} == {
        "first": "success",
        "tolerated": "failed",
        "breaks": "failed",
        "what went wrong": "success",
        "at last": "success",
    }
    assert await towpath.log(run["id"], "only") == b"first\nbreaks\nwhat went wrong\nat last\n"
    assert jobs_of(run)["only"]["attempts"][0]["exit_code"] == 7


async def test_variables_of_pipeline_job_and_step_and_of_earlier_steps_reach_a_script(
    towpath: Towpath,
) -> None:
    steps: list[Document] = [
        {"run": 'echo "$A $B $C"', "env": {"C": "step"}},
        {
            "run": 'echo "$C."; echo "D=from before" >> "$TOWPATH_ENV"; printf '
            '"E<<END\\ntwo\\nlines\\nEND\\n" >> "$TOWPATH_ENV"'
        },
        {
            "run": 'echo "$D"; echo "$E"; echo "$CI $TOWPATH_EVENT $TOWPATH_BRANCH $TOWPATH_JOB '
            '$TOWPATH_ATTEMPT"'
        },
    ]
    jobs = {"only": {"checkout": False, "env": {"B": "job"}, "steps": steps}}
    one = await scene(towpath, jobs, env={"A": "pipeline", "B": "hidden by the job's"})
    run = await one.ran()
    assert (
        await towpath.log(run["id"], "only")
        == b"pipeline job step\n.\nfrom before\ntwo\nlines\ntrue push main only 1\n"
    )


async def test_a_bad_line_for_later_steps_fails_the_step_that_wrote_it(towpath: Towpath) -> None:
    one = await scene(towpath, {"only": job('echo "TOWPATH_SHA=mine" >> "$TOWPATH_ENV"', "echo never")})
    run = await one.ran()
    assert ends(run)["only"] == ("failed", "script_failed")
    assert b"never" not in await towpath.log(run["id"], "only")
    assert b"TOWPATH_SHA" in await towpath.log(run["id"], "only")


async def test_needs_give_the_order_and_what_needs_nothing_runs_side_by_side(towpath: Towpath) -> None:
    """Left and right wait for each other, so they end only if they run at the same time."""
    here, there = towpath.oracle(), towpath.oracle()

    def meet(mine: str, other: Oracle) -> Document:
        return job(
            f"{mine}\ni=0; until {other.spoke()}; do i=$((i + 1)); [ $i -lt 200 ] || exit 1; sleep 0.05; done"
        )

    last = towpath.oracle()
    jobs = {
        "last": job(last.append("last"), needs=["left", "right"]),
        "left": meet(here.append("left"), there),
        "right": meet(there.append("right"), here),
    }
    one = await scene(towpath, jobs)
    run = await one.ran()
    assert run["status"] == "success"
    found = jobs_of(run)
    assert found["last"]["started_at"] >= max(found["left"]["finished_at"], found["right"]["finished_at"])
    assert (here.lines, there.lines, last.lines) == (["left"], ["right"], ["last"])


# ---------------------------------------------------------------- time


async def test_a_step_over_its_time_is_named_and_the_job_timed_out(towpath: Towpath) -> None:
    steps: list[Document] = [
        {"name": "quick", "run": "true"},
        {"name": "slow", "run": "echo begun; sleep 60", "timeout": "1s"},
    ]
    one = await scene(towpath, {"only": {"checkout": False, "steps": steps}})
    run = await one.ran()
    assert ends(run) == {"": ("failed", "timed_out"), "only": ("failed", "timed_out")}
    assert steps_of(run, "only") == [("quick", "success"), ("slow", "timed_out")]
    assert "slow" in jobs_of(run)["only"]["message"]
    assert await towpath.log(run["id"], "only") == b"begun\n"


async def test_a_job_over_its_time_is_stopped_with_all_its_processes(towpath: Towpath) -> None:
    oracle = towpath.oracle()
    one = await scene(
        towpath, {"only": job(f"echo begun; (sleep 20; {oracle.append('alive')}) & sleep 60", timeout="1s")}
    )
    run = await one.ran(within=15)
    assert ends(run)["only"] == ("failed", "timed_out")
    assert jobs_of(run)["only"]["message"]
    assert (await towpath.log(run["id"], "only")).startswith(
        b"begun\n"
    )  # the shell may add a line about its end
    assert oracle.lines == []


async def test_a_script_that_ends_by_a_timeouts_exit_code_has_failed(towpath: Towpath) -> None:
    """The exit codes 124 and 137 have no special meaning if no limit was reached."""
    one = await scene(towpath, {"a": job("exit 124"), "b": job("exit 137", timeout="10m")})
    run = await one.ran()
    assert {name: end for name, end in ends(run).items() if name} == {
        "a": ("failed", "script_failed"),
        "b": ("failed", "script_failed"),
    }


async def test_a12_a_job_sees_32_kib_of_a_long_commit_message(towpath: Towpath) -> None:
    script = 'printf %s "$TOWPATH_MESSAGE" | sha256sum; env | grep ^TOWPATH_MESSAGE_TRUNCATED || echo whole'
    one = await scene(towpath, {"only": job(script)})
    for message, seen, mark in (
        ("\N{ROWBOAT}" * 60_000, "\N{ROWBOAT}" * 8_192, "TOWPATH_MESSAGE_TRUNCATED=true"),
        ("it's\n" * 6_000, "it's\n" * 6_000, "whole"),
    ):
        run = await one.ran(message=message)
        digest = hashlib.sha256(seen.encode()).hexdigest()
        assert await towpath.log(run["id"], "only") == f"{digest}  -\n{mark}\n".encode(), run["status"]


# ---------------------------------------------------------------- checkout


async def checkout_scene(
    towpath: Towpath, scratch: Path, *scripts: str, **fields: object
) -> tuple[Scene, GitRepository]:
    repository = GitRepository(scratch / "repository")
    jobs = {"only": {"steps": [{"run": script} for script in scripts], **fields}}
    return await scene(towpath, jobs, clone_url=towpath.clone_url(repository.directory)), repository


async def test_exactly_the_commit_of_the_event_is_built(towpath: Towpath, scratch: Path) -> None:
    one, repository = await checkout_scene(
        towpath, scratch, "git rev-parse HEAD; cat file; git rev-list --count HEAD"
    )
    shas = [repository.commit({"file": f"version {number}\n"}) for number in (1, 2, 3)]
    runs = await asyncio.gather(*(one.ran(sha=sha) for sha in (shas[1], shas[2])))
    logs = [await towpath.log(run["id"], "only") for run in runs]
    assert logs == [f"{shas[number]}\nversion {number + 1}\n1\n".encode() for number in (1, 2)]
    assert [run["sha"] for run in runs] == [shas[1], shas[2]]


@pytest.mark.parametrize("names_the_commit", [True, False])
async def test_a04_an_annotated_tag_builds_the_commit_that_it_names(
    towpath: Towpath,
    scratch: Path,
    names_the_commit: bool,
) -> None:
    """Git finds the commit of the tag object if the forge names no commit (`head_commit` is null)."""
    repository = GitRepository(scratch / "repository")
    jobs = {"only": {"steps": [{"run": 'git rev-parse HEAD; git cat-file -t HEAD; echo "$TOWPATH_SHA"'}]}}
    clone_url = towpath.clone_url(repository.directory)
    one = await scene(towpath, jobs, {"push": {"tags": ["v*"]}}, clone_url=clone_url)
    commit = repository.commit({"file": "1"})
    repository.git("tag", "-a", "-m", "a tag of the commit", "inner")
    repository.git("tag", "-a", "-m", "a tag of the tag", "v1", "inner")
    tag_object = repository.git("rev-parse", "refs/tags/v1").strip()
    repository.commit({"file": "2"})
    payload = push(one.repository, ref="refs/tags/v1", sha=commit, tag_object=tag_object, before=ZERO)
    if not names_the_commit:
        payload |= {"head_commit": None, "commits": []}

    delivery_id = (await towpath.deliver(payload)).expect(202).json["delivery_id"]
    decision = await one.decision(delivery_id)
    run = await towpath.finished(decision["run_id"], sealed=True)

    sha = commit if names_the_commit else tag_object
    assert await towpath.log(run["id"], "only") == f"{commit}\ncommit\n{sha}\n".encode(), run["status"]
    assert (run["sha"], (await event_of(towpath, delivery_id))["sha"]) == (sha, sha)


async def test_a05_scripts_find_tags_and_history(towpath: Towpath, scratch: Path) -> None:
    repository = GitRepository(scratch / "repository")
    jobs: dict[str, Document] = {
        "tag": {"steps": [{"run": "git describe --tags --exact-match"}]},
        "history": {"checkout": {"depth": 0}, "steps": [{"run": "git describe --abbrev=0 HEAD~; git tag"}]},
        "tags": {"checkout": {"tags": True}, "steps": [{"run": "git tag; git rev-list --count HEAD"}]},
    }
    on = {"push": {"tags": ["v*"]}}
    one = await scene(towpath, jobs, on, clone_url=towpath.clone_url(repository.directory))
    for name in ("v0.9", "v1.0"):
        repository.commit({"file": name})
        repository.git("tag", "-a", "-m", name, name)
    sha, tag_object = (repository.git("rev-parse", name).strip() for name in ("HEAD", "v1.0"))
    payload = push(one.repository, ref="refs/tags/v1.0", sha=sha, tag_object=tag_object, before=ZERO)
    decision = await one.decision((await towpath.deliver(payload)).expect(202).json["delivery_id"])
    run = await towpath.finished(decision["run_id"], sealed=True)
    logs = {name: await towpath.log(run["id"], name) for name in jobs}
    assert logs == {"tag": b"v1.0\n", "history": b"v0.9\nv0.9\nv1.0\n", "tags": b"v0.9\nv1.0\n1\n"}, run


async def test_a_depth_fetches_so_much_of_the_history(towpath: Towpath, scratch: Path) -> None:
    one, repository = await checkout_scene(
        towpath, scratch, "git rev-list --count HEAD", checkout={"depth": 2}
    )
    for number in range(3):
        repository.commit({"file": str(number)})
    run = await one.ran(sha=repository.head())
    assert await towpath.log(run["id"], "only") == b"2\n"


async def test_a_commit_that_is_not_there_is_a_failed_clone_and_runs_nothing(
    towpath: Towpath, scratch: Path
) -> None:
    oracle = towpath.oracle()
    one, repository = await checkout_scene(towpath, scratch, oracle.append("ran"))
    repository.commit({"file": "x"})
    run = await one.ran(sha=new_sha())
    assert ends(run) == {"": ("error", "clone_failed"), "only": ("error", "clone_failed")}
    assert jobs_of(run)["only"]["message"]
    assert oracle.lines == []
    log = await one.person.client.get(f"/runs/{run['id']}/logs?job=only&container=clone")
    assert b"fatal" in log.expect(200).raw


async def test_a_clone_address_where_nothing_is_fails_the_clone(towpath: Towpath, scratch: Path) -> None:
    one = await scene(
        towpath, {"only": {"steps": [{"run": "true"}]}}, clone_url=towpath.clone_url(scratch / "nothing")
    )
    run = await one.ran()
    assert ends(run)["only"] == ("error", "clone_failed")


async def test_a_repository_whose_names_look_like_commands_is_only_data(
    towpath: Towpath, scratch: Path
) -> None:
    """The real repository has odd names of branches and files. Its hooks and submodules are not used."""
    one, repository = await checkout_scene(towpath, scratch, "ls; test ! -e owned")
    repository.commit(
        {
            "-rf": "x",
            "$(touch owned)": "x",
            ".gitmodules": '[submodule "a"]\n\tpath = a\n\turl = ext::sh -c touch% owned\n',
        }
    )
    repository.git("branch", "a;touch${IFS}owned")
    run = await one.ran(sha=repository.head(), ref="refs/heads/a;touch${IFS}owned")
    assert run["status"] == "success"
    assert await towpath.log(run["id"], "only") == b"$(touch owned)\n-rf\n"


async def test_a16_a_job_knows_the_merge_that_it_builds(towpath: Towpath, scratch: Path) -> None:
    repository = GitRepository(scratch / "repository")
    script = 'echo "$(git rev-parse HEAD) $TOWPATH_SHA ${TOWPATH_MERGE_SHA-none}"'
    jobs: dict[str, Document] = {
        "only": {"steps": [{"run": script}]},
        "empty": {"checkout": False, "steps": [{"run": 'echo "${TOWPATH_MERGE_SHA-none}"'}]},
    }
    clone_url = towpath.clone_url(repository.directory)
    one = await scene(towpath, jobs, {"pull_request": {}}, clone_url=clone_url)
    repository.commit({"a": "1"})
    repository.git("checkout", "-q", "-b", "topic")
    head = repository.commit({"b": "1"})
    repository.git("checkout", "-q", "main")
    repository.git("merge", "-q", "--no-ff", "-m", "merge", "topic")
    merge = repository.head()
    for merge_sha, built, told in ((merge, merge, merge), (new_sha(), head, "none")):
        decision = await one.decision(await one.pull_request(sha=head, merge_sha=merge_sha))
        run = await towpath.finished(decision["run_id"], sealed=True)
        assert await towpath.log(run["id"], "only") == f"{built} {head} {told}\n".encode()
        assert await towpath.log(run["id"], "empty") == b"none\n"


async def test_a_pull_request_builds_its_merge_and_else_its_head(towpath: Towpath, scratch: Path) -> None:
    repository = GitRepository(scratch / "repository")
    jobs = {"only": {"steps": [{"run": "git rev-parse HEAD"}]}}
    one = await scene(
        towpath, jobs, on={"pull_request": {}}, clone_url=towpath.clone_url(repository.directory)
    )
    repository.commit({"a": "1"})
    repository.git("checkout", "-q", "-b", "topic")
    head = repository.commit({"b": "1"})
    repository.git("checkout", "-q", "main")
    repository.git("merge", "-q", "--no-ff", "-m", "merge", "topic")
    merge, other = repository.head(), repository.commit({"c": "1"})

    for merge_sha, built in ((merge, merge), (other, head), (new_sha(), head), (None, head)):
        decision = await one.decision(await one.pull_request(sha=head, merge_sha=merge_sha))
        run = await towpath.finished(decision["run_id"], sealed=True)
        assert await towpath.log(run["id"], "only") == f"{built}\n".encode(), (merge_sha, run["status"])
        assert run["sha"] == head


async def test_a_folder_that_leaves_the_checkout_is_refused(towpath: Towpath) -> None:
    person = await towpath.person()
    for folder in ("../..", "/etc", "a/../../b"):
        text = document("octo/none", {"only": job({"run": "pwd", "working_directory": folder})})
        (await person.client.post("/pipelines", {"name": "x", "yaml_config": text})).expect(422)
