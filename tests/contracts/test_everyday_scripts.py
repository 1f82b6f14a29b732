"""Tests that everyday scripts behave on every cluster as docs/scripts.md says."""

import re
from collections.abc import Sequence
from dataclasses import replace

from services.executor.backend import Backend, Clone
from shared import step_markers
from shared.pipeline.model import Resources, Step
from tests.contracts.clusters import TOKEN, Origin, spec
from tests.contracts.everyday_scripts import CASES
from tests.contracts.grounds import Ground, begin, end_of


async def run_steps(
    ground: Ground, cluster: Backend, steps: Sequence[Step], clone: Clone | None = None
) -> list[tuple[str, int]]:
    """Run one job with these steps and return the output and exit code of each step."""
    wanted = spec(clone=clone)
    changes = {"steps": tuple(steps), "resources": Resources(cpu_millis=300)}
    made = await begin(cluster, replace(wanted, job=wanted.job.model_copy(update=changes)))
    _, end = await end_of(cluster, made, within=150)
    assert (end.exit_code, end.clone_failure) == (0, None)
    mark = f"::towpath-{step_markers.nonce(TOKEN)}::".encode()
    parts = re.findall(
        mark + rb"begin \d+ [^\n]*\n(.*?)" + mark + rb"end \d+ (\d+) \w\n",
        await ground.raw_log_of(made),
        flags=re.DOTALL,
    )
    return [(output.decode(), int(code)) for output, code in parts]


async def test_everyday_scripts_do_what_is_documented(ground: Ground, cluster: Backend) -> None:
    ran = iter(await run_steps(ground, cluster, [step for case in CASES for step in case.steps]))
    seen = {}
    for case in CASES:
        parts = [next(ran) for _ in case.steps]
        seen[case.name] = ("".join(output for output, _ in parts), tuple(code for _, code in parts))
    expected = {case.name: (case.output, case.codes) for case in CASES}
    differing = {name for name in expected if seen[name] != expected[name]}
    assert {name: seen[name] for name in differing} == {name: expected[name] for name in differing}


async def test_everyday_git_commands(ground: Ground, cluster: Backend, origin: Origin) -> None:
    (origin.folder / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (origin.folder / "run.sh").chmod(0o755)
    (origin.folder / "link").symlink_to("run.sh")
    (origin.folder / "crlf.txt").write_bytes(b"a\r\n")
    clone = replace(origin.clone(origin.commit_all("more")), url=ground.clone_url(origin))
    scripts = (
        'git status -s; echo "[$(git branch --show-current)] $(git rev-parse --abbrev-ref HEAD)"; git remote',
        "./run.sh; ./link; od -An -c crlf.txt | tr -d ' '",
        "git commit -q --allow-empty -m x 2> /dev/null",
        "git -c user.name=A -c user.email=a@example.org commit -q --allow-empty -m x; git switch -q -c topic",
        "git log -1 --format=%s; git branch --show-current",
        "git clean -ffdxq; git submodule update --init; git config --get-all credential.helper || echo none",
    )
    assert await run_steps(
        ground, cluster, [Step(run=script, allow_failure=True) for script in scripts], clone
    ) == [
        ("[] HEAD\norigin\n", 0),
        ("ran\nran\na\\r\\n\n", 0),
        ("", 128),
        ("", 0),
        ("x\ntopic\n", 0),
        ("none\n", 0),
    ]
