"""Helpers for the contract of a cluster: orders, waits, and the results that are visible from outside."""

import asyncio
import contextlib
import os
import subprocess
from pathlib import Path

from services.executor.backend import AttemptSpec, Clone, Observation, Phase, PodEnd
from services.executor.local.backend import LocalBackend, LocalLimits
from services.executor.local.pod_files import PodFiles, read_identity
from services.executor.local.processes import descendants
from shared import step_markers
from shared.errors import Transient
from shared.pipeline.model import Job, Step
from tests.harness.waiting import until

INSTALLATION = "abcdefgh"
TOKEN = "token"
AS_ROOT = os.getuid() == 0
PROCESSES = 200
LIMITS = LocalLimits(
    grace_seconds=0.5,
    gate_seconds=60,
    clone_seconds=60,
    clone_protocols="https:http:file",
    processes=PROCESSES,
)


def spec(
    script: str = ":",
    *,
    attempt: int = 1,
    token: str = TOKEN,
    limit: int = 60,
    run_limit: float = 600,
    clone: Clone | None = None,
    name: str | None = None,
) -> AttemptSpec:
    return AttemptSpec(
        name=name or f"tp-{INSTALLATION}-{attempt}",
        attempt_id=attempt,
        job_id=1,
        run_id=1,
        creation_token=token,
        job=Job(name="job", steps=(Step(run=script),), timeout_seconds=limit),
        environment={"CI": "true", "SECRET": "hunter2-hunter2"},
        clone=clone,
        trusted=True,
        run_seconds_left=run_limit,
    )


async def begin(cluster: LocalBackend, wanted: AttemptSpec) -> Observation:
    """Create and release a pod."""
    made = await cluster.create(wanted)
    await cluster.release(made.name, made.pods[0].uid)
    return made


async def create_again(cluster: LocalBackend, wanted: AttemptSpec) -> Observation:
    """Create a pod as a handler does that retries in place."""

    async def check() -> Observation | None:
        try:
            return await cluster.create(wanted)
        except Transient:
            return None

    return await until(check, within=20, what="a pod")


async def end_of(cluster: LocalBackend, name: str, within: float = 20) -> tuple[Phase, PodEnd]:
    async with asyncio.timeout(within):
        while True:
            pod = (await cluster.observe([name]))[name].pods[0]
            if pod.phase in (Phase.ENDED, Phase.LOST):
                return pod.phase, pod.end or PodEnd()
            await cluster.changed()


async def run(cluster: LocalBackend, wanted: AttemptSpec) -> tuple[PodEnd, str]:
    made = await begin(cluster, wanted)
    _, end = await end_of(cluster, made.name)
    return end, log_of(made, wanted.creation_token)


def log_of(made: Observation, token: str = TOKEN, container: str = "job") -> str:
    return step_markers.strip(raw_log_of(made, container), step_markers.nonce(token)).decode()


def raw_log_of(made: Observation, container: str = "job") -> bytes:
    """Return the log of a container, including the step markers."""
    records = (Path(made.log_location) / "log" / f"{container}.log").read_bytes().split(b"\n")[:-1]
    fields = [record.split(b" ", 3) for record in records]
    return b"".join(text + (b"\n" if part == b"F" else b"") for _, _, part, text in fields)


async def said(made: Observation, text: str) -> None:
    """Wait until the job has written this text."""

    async def check() -> bool:
        return text in log_of(made)

    await until(check, within=20, what=f"the job says {text}")


def files_with(text: str, made: Observation) -> list[Path]:
    return [
        path
        for path in Path(made.log_location).rglob("*")
        if path.is_file() and text.encode() in path.read_bytes()
    ]


def command_lines(supervisor: int) -> list[bytes]:
    lines = []
    for pid in descendants(supervisor):
        with contextlib.suppress(OSError):
            lines.append(Path(f"/proc/{pid}/cmdline").read_bytes())
    return lines


def supervisor_of(made: Observation) -> int:
    identity = read_identity(PodFiles(Path(made.log_location)))
    assert identity is not None
    return identity.supervisor_pid


class Origin:
    """A repository to clone from, with the merge commit of a pull request."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = f"file://{folder}"
        folder.mkdir()
        folder.chmod(0o755)
        self._git("init", "--quiet", "--initial-branch=main")
        self.first = self.commit("first")
        self.second = self.commit("second")
        self._git("checkout", "--quiet", "-b", "topic", self.first)
        self.head = self.commit("topic")
        self._git("checkout", "--quiet", "main")
        self._git("merge", "--quiet", "--no-ff", "-m", "merge", "topic")
        self.merge = self._git("rev-parse", "HEAD")

    def commit(self, name: str) -> str:
        (self.folder / name).write_text(name)
        self._git("add", name)
        self._git("commit", "--quiet", "-m", name)
        return self._git("rev-parse", "HEAD")

    def tag(self, name: str, sha: str, option: str = "--no-sign") -> None:
        """Create a tag. With the option `-a` it is an annotated tag."""
        message = ["-m", name] if option == "-a" else []
        self._git("tag", option, *message, name, sha)

    def commit_all(self, message: str) -> str:
        """Commit everything in the folder."""
        self._git("add", "--all")
        self._git("commit", "--quiet", "-m", message)
        return self._git("rev-parse", "HEAD")

    def link(self, modules: str, **links: str) -> str:
        """Commit this `.gitmodules`, and a submodule of each of these paths at its commit."""
        (self.folder / ".gitmodules").write_text(modules)
        self._git("add", ".gitmodules")
        for path, sha in links.items():
            self._git("update-index", "--add", "--cacheinfo", f"160000,{sha},{path}")
        self._git("commit", "--quiet", "-m", "submodules")
        return self._git("rev-parse", "HEAD")

    def _git(self, *arguments: str) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"}
        author = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
        done = subprocess.run(
            ["git", *author, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            check=True,
            text=True,
        )
        return done.stdout.strip()

    def clone(self, sha: str, *, merge_sha: str | None = None, token: str | None = None) -> Clone:
        return Clone(url=self.url, sha=sha, ref="refs/heads/main", merge_sha=merge_sha, depth=1, token=token)
