"""Runs the step driver with real shells and reads its results."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from services.executor.step_driver import DriverPaths, Unsupervised, render
from services.executor.step_facts import Interruption, step_facts
from services.executor.step_outputs import FILE, collect
from shared import step_markers
from shared.pipeline.model import Job, Step

NONCE = "0123456789abcdef"
SHELLS = [shell for shell in (["dash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(shell[0])]


class Ran:
    def __init__(self, code: int, folder: Path, steps: list[Step]) -> None:
        self.code = code
        self.raw = (folder / "log").read_bytes()
        self.output = step_markers.strip(self.raw, NONCE).decode("utf-8", "surrogateescape")
        notes = folder / "termination"
        self.termination = (notes if notes.exists() else folder / "state" / "termination").read_text()
        self.outputs = collect(folder / "state" / FILE)
        self.facts = step_facts(self.termination, steps, None, Interruption("failed", None))

    @property
    def outcomes(self) -> list[str]:
        return [fact.outcome for fact in self.facts]


def run(
    *steps: Step,
    shell: list[str] | None = None,
    environment: dict[str, str] | None = None,
    templates: dict[str, str] | None = None,
    outputs: dict[str, str] | None = None,
) -> Ran:
    """Run the driver as a supervisor does.

    Its environment is prepared, and the driver is passed as a descriptor.
    """
    with TemporaryDirectory() as name:
        folder = Path(name)
        for inner in ("workspace/sub", "state"):
            (folder / inner).mkdir(parents=True)
        memory = os.memfd_create("driver")
        os.write(
            memory,
            render(
                job_of(steps, templates, outputs),
                paths_in(folder),
                NONCE,
                {"PATH": os.environ["PATH"], **(environment or {})},
            ).encode(),
        )
        command = [
            "/bin/sh",
            "-c",
            f'exec 3< /proc/{os.getpid()}/fd/{memory}; exec "$@"',
            "sh",
            *(shell or SHELLS[0]),
            "/dev/fd/3",
        ]
        code = drive(command, folder, {"PATH": os.environ["PATH"]})
        os.close(memory)
        return Ran(code, folder, list(steps))


def run_alone(
    folder: Path, *steps: Step, shell: list[str], limit: int = 60, image: dict[str, str] | None = None
) -> Ran:
    """Run the driver as a kubelet does.

    Nothing is prepared, the driver is a file, and the variables are those of the image.
    """
    alone = Unsupervised(
        str(folder / "started"), str(folder / "home"), str(folder / "termination"), limit, grace_seconds=1
    )
    (folder / "driver").write_bytes(
        render(
            job_of(steps), paths_in(folder), NONCE, {"HOME": str(folder / "home"), "VALUE": "job's"}, alone
        ).encode()
    )
    (folder / "termination").write_bytes(b"")
    code = drive(
        [*shell, str(folder / "driver")], folder, {"PATH": os.environ["PATH"]} if image is None else image
    )
    return Ran(code, folder, list(steps))


def job_of(
    steps: Sequence[Step], templates: dict[str, str] | None = None, outputs: dict[str, str] | None = None
) -> Job:
    return Job(name="job", steps=tuple(steps), templates=templates or {}, outputs=outputs or {})


def paths_in(folder: Path) -> DriverPaths:
    return DriverPaths(str(folder / "workspace"), str(folder / "state"))


def drive(command: list[str], folder: Path, environment: dict[str, str]) -> int:
    with (folder / "log").open("wb") as log:  # a process that outlives its step would hold a pipe
        driving = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
        )
    try:
        return driving.wait(timeout=30)
    finally:
        driving.kill()
        end_leftovers(folder)


def end_leftovers(folder: Path) -> None:
    """Kill the processes that steps left running.

    Each step has its own session, but all of their processes start below this folder.
    """
    for link in Path("/proc").glob("[1-9]*/cwd"):
        with contextlib.suppress(OSError):  # it has ended in the meantime
            if link.readlink().is_relative_to(folder.resolve()):
                os.kill(int(link.parent.name), signal.SIGKILL)
