"""The local backend: each pod is a folder with a supervisor process.

Several executors of one machine may serve the same folder. The folders are the only state: an executor that
starts finds every pod as its supervisor left it.

1. `create` asks the fork server for a supervisor. The pod's folder is put in place complete, by one rename.
2. The supervisor waits at its gate. `release` writes the file `go` and sends it SIGUSR1.
3. The supervisor creates `started`, runs the containers, and writes `status.json`.
4. The kernel reports the supervisor's end to every executor that has observed the pod; `changed` returns it.
5. `remove` renames the folder to a name that is no pod's, and deletes it.

Failures:
- The executor dies: the supervisors continue, and the next executor observes them.
- The signal of `release` is lost: the pod counts as gated until `started` exists, so it is released again.
- The supervisor dies without a status: its remaining processes are killed, and then the pod counts as lost.
- The name is taken: a pod with the same creation token is adopted, or made again if it ended unreleased.
"""

import asyncio
import contextlib
import fcntl
import os
import shutil
import signal
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TextIO

import structlog

from services.executor import step_driver
from services.executor.backend import (
    OUT_OF_MEMORY,
    AttemptSpec,
    Cause,
    Clone,
    NameTaken,
    Observation,
    Phase,
    Pod,
    PodEnd,
    Refused,
)
from services.executor.driver_secrets import DriverSecrets
from services.executor.local import supervisors
from services.executor.local.folders import Removals, debris, keep_apart
from services.executor.local.fork_server import ForkServer
from services.executor.local.network_choice import Isolation, NetworkWish, isolate
from services.executor.local.order import CloneOrder, Order
from services.executor.local.pod_files import (
    MARK,
    STAGED,
    Identity,
    PodFiles,
    Status,
    read_go,
    read_identity,
    read_status,
    read_warnings,
    write_whole,
)
from services.executor.local.processes import SYSTEM_PATH, marked, send
from services.executor.local.sandbox import Sandbox
from shared import step_markers
from shared.errors import Transient
from shared.pipeline.model import Job

_log = structlog.get_logger()
_ORPHANS_SECONDS = 2.0
_LOCK_SECONDS = 5.0
_OBSERVATIONS_AT_ONCE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalLimits:
    grace_seconds: float
    gate_seconds: float
    clone_seconds: float
    clone_protocols: str = "https"
    """The protocols that git may use, in the format of GIT_ALLOW_PROTOCOL."""
    free_bytes: int = 0
    """No pod is created with less free disk space."""
    processes: int | None = None
    """Maximum number of processes and threads of the jobs' user, in all pods.

    Set only if jobs have a user of their own: it would count the developer's processes too.
    """


class LocalBackend:
    """The local backend. Use it as `async with`; leaving the block leaves every pod running."""

    def __init__(
        self,
        folder: Path,
        installation: str,
        sandbox: Sandbox,
        limits: LocalLimits,
        network: NetworkWish | None = None,
    ) -> None:
        self._folder = folder
        self._pods = folder / "pods"
        self._lock = folder / "removals.lock"
        self._prefix = f"tp-{installation}-"
        self._isolation = Isolation(sandbox)
        self._network = network or NetworkWish()
        self._limits = limits
        self._server = ForkServer()
        self._watch = supervisors.Watch(self._note)
        self._removals = Removals()
        self._changes: set[int] = set()
        self._woken = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._pods.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._lock.touch()
        self._lock.chmod(0o600)  # a job that can open it could hold the lock and so block all removals
        supervisors.allow_many_descriptors()
        keep_apart(self._pods)
        await self._removals.__aenter__()
        await self._server.__aenter__()
        try:
            self._isolation = await isolate(
                self._network, self._isolation.sandbox, self._server, self._folder
            )
        except BaseException:
            await self._server.__aexit__(None, None, None)
            await self._removals.__aexit__(None, None, None)
            raise
        left = await asyncio.to_thread(debris, self._pods)
        self._cleaning = asyncio.create_task(self._removals.remove(left))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.close()
        self._cleaning.cancel()
        await self._removals.__aexit__(kind, error, trace)
        await self._server.__aexit__(kind, error, trace)

    async def create(self, spec: AttemptSpec) -> Observation:
        try:
            order = self._order(spec)
        except ValueError as error:
            raise Refused(f"The job can't be written as a script: {error}.") from error
        if shutil.disk_usage(self._pods).free < self._limits.free_bytes:
            raise Transient(
                f"local cluster: less than {self._limits.free_bytes >> 20} MiB free below {self._pods}"
            )
        answer = await self._server.supervise(order)
        if answer == "taken":
            found = await self._adopt(spec)
            if found is not None:
                return found
            answer = await self._server.supervise(order)
        if answer != "made":
            raise Transient(f"local cluster: {answer}")
        return await self._existing(spec.name)

    async def observe(self, names: Collection[str]) -> dict[str, Observation]:
        found = {}
        for number, name in enumerate(names):
            if number % _OBSERVATIONS_AT_ONCE == 0:
                await asyncio.sleep(0)  # with thousands of pods, let other tasks run
            observation = await self._check(name)
            if observation is not None:
                found[name] = observation
        return found

    async def known(self, names: Collection[str]) -> dict[str, Observation]:
        return await self.observe(names)

    async def everything(self) -> list[Observation]:
        names = [
            name for name in await asyncio.to_thread(os.listdir, self._pods) if name.startswith(self._prefix)
        ]
        return list((await self.observe(names)).values())

    async def release(self, name: str, pod_uid: str) -> None:
        self._tell(name, pod_uid, "go")

    async def stop(self, name: str, pod_uid: str) -> None:
        self._tell(name, pod_uid, "stop")

    async def abandon(self, name: str, pod_uid: str, cause: Cause) -> None:
        """Do nothing: a local pod starts as soon as it is released."""

    async def drop_workspace(self, name: str, object_uid: str) -> None:
        files = PodFiles(self._pods / name)
        identity = read_identity(files)
        if identity is not None and identity.uid == object_uid:
            await self._removals.remove([files.job])

    async def remove(self, name: str, object_uid: str) -> None:
        files = PodFiles(self._pods / name)
        identity = read_identity(files)
        if identity is None or identity.uid != object_uid:
            return
        if read_status(files) is None or supervisors.is_alive(identity):
            self._watch.tell(identity, signal.SIGKILL)
            if not await self._end_orphans(identity):
                raise Transient(f"local cluster: processes of attempt {identity.attempt_id} do not die")
        gone = self._pods / f"{STAGED}{os.urandom(8).hex()}"
        async with self._removal():
            identity = read_identity(files)
            if identity is None or identity.uid != object_uid:
                return
            files.folder.rename(gone)
        await self._removals.remove([gone])

    async def changed(self) -> frozenset[int]:
        await self._woken.wait()
        self._woken.clear()
        changes, self._changes = frozenset(self._changes), set()
        return changes

    def _note(self, attempt_id: int) -> None:
        self._changes.add(attempt_id)
        self._woken.set()

    async def _adopt(self, spec: AttemptSpec) -> Observation | None:
        """Return the pod that has the attempt's name, or None if the name is free.

        A pod that ended without a release is removed first.
        """
        found = await self._check(spec.name)
        if found is None:
            return None
        if found.creation_token != spec.creation_token:
            raise NameTaken(spec.name)
        if (
            found.pods[0].phase in (Phase.ENDED, Phase.LOST)
            and read_go(PodFiles(self._pods / spec.name)) is None
        ):
            await self.remove(spec.name, found.object_uid)
            return None
        return found

    async def _existing(self, name: str) -> Observation:
        found = await self._check(name)
        if found is None:
            raise Transient(f"local cluster: {name} was removed at once")
        return found

    async def _check(self, name: str) -> Observation | None:
        files = PodFiles(self._pods / name)
        identity = read_identity(files)
        if identity is None or not name.startswith(self._prefix):
            return None
        status, alive = read_status(files), True
        if status is None:
            alive = supervisors.is_alive(identity)
            status = read_status(files)  # again: now that its writer is dead, the file is complete
        if status is None and alive:
            self._watch.add(identity)
        elif status is None:
            alive = not await self._end_orphans(identity)
        pod = Pod(
            uid=identity.uid, phase=_phase(files, status, alive), end=None if status is None else _end(status)
        )
        containers = ("clone", "job") if files.log("clone").exists() else ("job",)
        return Observation(
            name=name,
            attempt_id=identity.attempt_id,
            object_uid=identity.uid,
            creation_token=identity.creation_token,
            pods=(pod,),
            log_location=str(files.folder),
            containers=containers,
            warnings=read_warnings(files),
        )

    def _tell(self, name: str, pod_uid: str, wish: Literal["go", "stop"]) -> None:
        """Write the request to a file, and wake the supervisor, which reads the file.

        A supervisor that cannot be woken yet reads the file when it starts to wait.
        """
        files = PodFiles(self._pods / name)
        identity = read_identity(files)
        if identity is None or identity.uid != pod_uid:
            return
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            if wish == "stop":
                files.stop.touch()
            elif read_go(files) != pod_uid:
                write_whole(files.go, pod_uid)
        self._watch.tell(identity, signal.SIGUSR1)

    def _order(self, spec: AttemptSpec) -> Order:
        if not spec.trusted:
            raise Refused(
                "The local cluster runs no code of people who may not write to the repository: it can't "
                "keep them apart well enough."
            )
        if wishes := [key for key, wish in _wishes(spec.job).items() if wish]:
            raise Refused(
                f"The local cluster knows no {' and no '.join(f'`{key}`' for key in wishes)}: it runs jobs "
                "as processes, not as containers."
            )
        files = PodFiles(self._pods / spec.name)
        uid = os.urandom(16).hex()
        paths = step_driver.DriverPaths(str(files.workspace), str(files.state))
        own = {"HOME": str(files.home), MARK: uid}
        machine = {"LANG": "C.UTF-8", "PATH": f"{SYSTEM_PATH}:{files.home}/.local/bin"}
        machine |= {"USER": self._isolation.sandbox.job_name, "LOGNAME": self._isolation.sandbox.job_name}
        environment = machine | dict(spec.environment) | own
        return Order(
            pods=str(self._pods),
            name=spec.name,
            uid=uid,
            attempt_id=spec.attempt_id,
            creation_token=spec.creation_token,
            driver=step_driver.render(
                spec.job,
                paths,
                step_markers.nonce(spec.creation_token),
                environment,
                secrets=DriverSecrets(spec.secrets),
            ),
            clone=None if spec.clone is None else self._clone_order(spec.clone, files),
            runner=self._isolation.sandbox.job(files.job, files.workspace),
            job_seconds=spec.job.timeout_seconds,
            run_seconds=spec.run_seconds_left,
            has_outputs=bool(spec.job.outputs),
            grace_seconds=spec.job.stop_grace_seconds or self._limits.grace_seconds,
            gate_seconds=self._limits.gate_seconds,
            memory_bytes=spec.job.resources.memory_bytes,
            processes=None if self._isolation.sandbox.job_user is None else self._limits.processes,
            own_network=self._isolation.own_network,
            warnings=self._isolation.warnings,
        )

    def _clone_order(self, clone: Clone, files: PodFiles) -> CloneOrder:
        source = [Path(clone.url.removeprefix("file://"))] if clone.url.startswith("file:///") else []
        return CloneOrder(
            url=clone.url,
            sha=clone.sha,
            ref=clone.ref,
            merge_sha=clone.merge_sha,
            depth=clone.depth,
            token=clone.token,
            protocols=self._limits.clone_protocols,
            tags=clone.tags,
            submodules=clone.submodules,
            shares_token=clone.shares_token,
            lfs=clone.lfs,
            folder=clone.folder,
            seconds=self._limits.clone_seconds,
            runner=self._isolation.sandbox.clone(
                files.workspace, [files.git, *(path for path in source if path.exists())]
            ),
        )

    @asynccontextmanager
    async def _removal(self) -> AsyncIterator[None]:
        """Hold the lock on removals of this machine. Raises Transient.

        The name of a pod then cannot pass to another pod between the check of its uid and its renaming.
        """
        deadline = asyncio.get_running_loop().time() + _LOCK_SECONDS
        with self._lock.open("a") as lock:
            while not _is_locked(lock):
                if asyncio.get_running_loop().time() > deadline:
                    raise Transient("local cluster: another executor stands still in the middle of a removal")
                await asyncio.sleep(0.005)
            yield

    async def _end_orphans(self, identity: Identity) -> bool:
        """Kill the processes that a dead supervisor left. Returns False if one of them does not die.

        The kernel may hold such a process; while it lives, the pod has not ended.
        """
        deadline = asyncio.get_running_loop().time() + _ORPHANS_SECONDS
        while orphans := await asyncio.to_thread(marked, identity.uid):
            send([pid for pid in orphans if pid != identity.supervisor_pid], signal.SIGKILL)
            if asyncio.get_running_loop().time() > deadline:
                _log.warning("orphans_do_not_die", attempt_id=identity.attempt_id, pids=orphans)
                return False
            await asyncio.sleep(0.01)
        return True


def _wishes(job: Job) -> dict[str, object]:
    """Return the requests of a job that only containers can fulfil, by their keys in a pipeline."""
    return {"services": job.services, "user": job.user, "kubernetes": job.node_selector}


def _is_locked(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _phase(files: PodFiles, status: Status | None, alive: bool) -> Phase:
    if status is not None:
        return Phase.ENDED
    if not alive:
        return Phase.LOST
    # `go` alone is not enough: its signal may be lost, and then the pod has to be released again.
    return Phase.RELEASED if files.started.exists() else Phase.GATED


def _end(status: Status) -> PodEnd:
    clone = status.clone
    failure = None
    if clone is not None and clone.exit_code != 0:
        failure = "the clone took too long" if clone.timed_out else clone.message
    return PodEnd(
        exit_code=status.exit_code,
        started_at=_instant(status.started_at),
        finished_at=_instant(status.finished_at),
        stopped=status.stopped,
        time_limit=status.time_limit,
        clone_failure=failure,
        cause=OUT_OF_MEMORY if status.out_of_memory and status.exit_code != 0 else None,
        fault=status.fault,
        termination=status.termination,
        outputs={} if status.outputs is None else status.outputs.outputs,
        outputs_problem=None if status.outputs is None else status.outputs.problem,
    )


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
