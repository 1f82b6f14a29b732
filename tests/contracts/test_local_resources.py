"""Tests of the limits of a job of the local cluster: memory, processes, and files in memory."""

from dataclasses import replace

import pytest

from services.executor.backend import OUT_OF_MEMORY, AttemptSpec
from services.executor.local.backend import LocalBackend
from services.executor.local.processes import LIKELY_VICTIM
from services.executor.local.sandbox import Sandbox
from shared.pipeline.model import Resources
from tests.contracts.clusters import AS_ROOT, PROCESSES, run, spec

MIB = 1 << 20


def small(script: str, mebibytes: int = 64) -> AttemptSpec:
    wanted = spec(script)
    return replace(
        wanted, job=wanted.job.model_copy(update={"resources": Resources(memory_bytes=mebibytes * MIB)})
    )


@pytest.mark.parametrize(
    "script",
    [
        "exec python3 -c 'import time; kept = bytearray(1 << 28); time.sleep(60)'",
        "python3 -c 'import time; kept = bytearray(1 << 28); time.sleep(60)' & sleep 60",
        (
            "for n in 1 2 3 4; do python3 -c 'import time; kept = bytearray(40 << 20); time.sleep(60)' & "
            "done; "
            "wait"
        ),
    ],
    ids=["a step", "a background process", "several processes together"],
)
async def test_x11_a_job_that_takes_more_memory_than_it_asked_for_is_ended(
    local_cluster: LocalBackend, script: str
) -> None:
    end, _ = await run(local_cluster, small(script))
    assert (end.cause, end.exit_code) == (OUT_OF_MEMORY, 137)


async def test_x11_memory_that_processes_share_counts_once(local_cluster: LocalBackend) -> None:
    """Shared memory counts as in a container: here eight processes of 40 MiB each have the same pages."""
    program = "import os, time\nkept = bytes(40 << 20)\n[os.fork() for _ in range(3)]\ntime.sleep(2)"
    end, _ = await run(local_cluster, small(f"python3 -c '{program}'", 128))
    assert (end.exit_code, end.cause) == (0, None)


async def test_x11_a_job_that_asks_for_no_memory_is_not_watched(local_cluster: LocalBackend) -> None:
    end, _ = await run(
        local_cluster, spec("python3 -c 'import time; kept = bytearray(1 << 28); time.sleep(1)'")
    )
    assert (end.exit_code, end.cause) == (0, None)


async def test_x11_jobs_have_a_bounded_number_of_processes(local_cluster: LocalBackend) -> None:
    if not AS_ROOT:
        pytest.skip("without a user of their own the limit would be the developer's")
    program = f"""
import os, sys, time
for number in range({PROCESSES} + 1):
    try:
        made = os.fork()
    except OSError:
        sys.exit(7)
    if made == 0:
        time.sleep(60)
        os._exit(0)
"""
    end, _ = await run(local_cluster, spec(f"python3 -c '{program}'"))
    assert end.exit_code == 7


@pytest.mark.parametrize("place", ["/tmp", "/var/tmp"])  # noqa: S108 - the job's own
async def test_x11_files_in_memory_are_bounded(
    local_cluster: LocalBackend, sandbox: Sandbox, place: str
) -> None:
    if not sandbox.bubblewrap:
        pytest.skip("without a sandbox it is the machine's")
    fill = f"dd if=/dev/zero of={place}/big bs=1M count=64 2> /dev/null"
    end, log = await run(local_cluster, spec(f"{fill} || stat -c %s {place}/big"))
    assert (end.exit_code, log) == (0, f"{sandbox.tmp_bytes}\n")


async def test_x11_the_kernel_ends_a_job_before_a_service(local_cluster: LocalBackend) -> None:
    _, log = await run(local_cluster, spec("cat /proc/self/oom_score_adj"))
    assert log == f"{LIKELY_VICTIM}\n"
