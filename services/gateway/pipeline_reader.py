"""Reads pipelines in worker processes, because reading a large one would block other requests too long.

1. A request takes a place in the queue. It is refused if the queue, or the user's part of it, is full.
2. It waits for one of a few worker processes. Workers are started on demand and kept.
3. The worker returns the pipeline or its problems.

Failures:
- A worker takes too long: it is killed, and the request is answered with 503.
- A kept worker has died: a new one reads the document. If that dies too, the answer is 503.
- The request is cancelled: its worker is killed, because its answer would be taken for the next one's.
"""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import structlog

from services.gateway.pipeline_worker import LENGTH_BYTES, PREVIEW, frame
from services.gateway.store.pipelines import Definition
from shared.errors import Transient
from shared.pipeline.errors import PipelineInvalid, PipelineProblem
from shared.preview import Case

_log = structlog.get_logger()

_ROOT = Path(__file__).parents[2]
_ANSWER_BYTES = 64 << 20
"""The maximum size of an answer.

A pipeline's texts have at most 1 MiB together, and JSON may write a character with 6 bytes.
"""


class Busy(Exception):
    """Too many documents are waiting. The text of the exception names the limit."""


class TooMuchWork(Exception):
    """The previews take too long. `done` is how many fit into the time."""

    def __init__(self, done: int) -> None:
        super().__init__(f"{done} previews fit into the time")
        self.done = done


class _Died(Transient):
    """The worker ended before it answered."""


class PipelineReader:
    """The queue and the worker processes of one gateway."""

    preview_share = 0.5
    """The part of the time for one document that previews may use of the processor."""
    command: tuple[str, ...] = (sys.executable, "-m", "services.gateway.pipeline_worker")

    def __init__(
        self,
        *,
        processes: int,
        checks: int,
        checks_per_user: int,
        seconds: float,
        pattern_steps: int = 50_000,
    ) -> None:
        self.seconds = seconds
        self._pattern_steps = pattern_steps
        self._checks = checks
        self._checks_per_user = checks_per_user
        self._waiting: Counter[int] = Counter()
        self._turns = asyncio.Semaphore(processes)
        self._idle: list[_Worker] = []

    async def read(self, text: str, user_id: int) -> Definition:
        """Read the pipeline in this text.

        Raises PipelineInvalid with its problems, Busy if the queue is full, or Transient if the worker died
        or took too long.
        """
        return _definition(text, await self._found(text.encode(), user_id))

    async def preview(
        self, models: Sequence[Mapping[str, Any]], cases: Sequence[tuple[int, Case]], user_id: int
    ) -> list[dict[str, Any]]:
        """Return the previews (`shared.preview.Preview` as JSON) of the cases, in order.

        Each case names its model by its position. Raises TooMuchWork if they take too long, otherwise as
        `read`.
        """
        order = {
            "models": models,
            "cases": cases,
            "pattern_steps": self._pattern_steps,
            "seconds": self.seconds * self.preview_share,
        }
        found = await self._found(PREVIEW + orjson.dumps(order), user_id)
        if "bug" in found:
            raise RuntimeError(found["bug"])
        if "exceeded_after" in found:
            raise TooMuchWork(found["exceeded_after"])
        previews: list[dict[str, Any]] = found["previews"]
        return previews

    async def _found(self, content: bytes, user_id: int) -> dict[str, Any]:
        self._check_room(user_id)
        self._waiting[user_id] += 1
        try:
            async with self._turns:
                return await self._answer(content)
        finally:
            self._waiting[user_id] -= 1
            if not self._waiting[user_id]:
                del self._waiting[user_id]

    async def close(self) -> None:
        """End the workers. `read` must not be called any more."""
        for worker in self._idle:
            await worker.end()
        self._idle.clear()

    def _check_room(self, user_id: int) -> None:
        if self._waiting[user_id] >= self._checks_per_user:
            limit = f"{self._checks_per_user} pipelines of one user (TOWPATH_PIPELINE_CHECKS_PER_USER)"
        elif self._waiting.total() >= self._checks:
            limit = f"{self._checks} pipelines (TOWPATH_PIPELINE_CHECKS)"
        else:
            return
        raise Busy(f"{limit} may be checked or wait for it at once here.")

    async def _answer(self, text: bytes) -> dict[str, Any]:
        if self._idle:
            try:
                return await self._ask(self._idle.pop(), text)
            except _Died:  # the worker may have died long ago, so try once more
                _log.info("pipeline_worker_replaced")
        return await self._ask(await _Worker.start(self.command), text)

    async def _ask(self, worker: "_Worker", text: bytes) -> dict[str, Any]:
        """Send the text to a worker and return its answer. Raises Transient.

        The worker is kept for the next document if it has answered, and killed otherwise.
        """
        has_answered = False
        try:
            async with asyncio.timeout(self.seconds):
                found = await worker.ask(text)
            has_answered = True
        except TimeoutError as error:
            _log.warning("pipeline_worker_too_slow", seconds=self.seconds, document_bytes=len(text))
            raise Transient(f"a pipeline was not read within {self.seconds:g} s") from error
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            _log.warning("pipeline_worker_died", document_bytes=len(text))
            raise _Died("the process that reads pipelines died") from error
        finally:
            if has_answered:
                self._idle.append(worker)
            else:  # also if the request is cancelled: the late answer would be taken for the next one's
                await worker.end()
        return found


class _Worker:
    """One worker process."""

    def __init__(
        self, process: asyncio.subprocess.Process, into: asyncio.StreamWriter, out: asyncio.StreamReader
    ) -> None:
        self._process = process
        self._into = into
        self._out = out

    @classmethod
    async def start(cls, command: tuple[str, ...]) -> "_Worker":
        """Start a worker.

        Its environment contains none of the gateway's secrets, and signals of the gateway's terminal do not
        reach it.
        """
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"PYTHONPATH": str(_ROOT), "PATH": os.defpath},
            start_new_session=True,
        )
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("a process was started without its pipes")
        return cls(process, process.stdin, process.stdout)

    async def ask(self, text: bytes) -> dict[str, Any]:
        """Send a document and return the answer.

        Raises IncompleteReadError or ConnectionError if the process ends.
        """
        self._into.write(frame(text))
        await self._into.drain()
        length = int.from_bytes(await self._out.readexactly(LENGTH_BYTES))
        if length > _ANSWER_BYTES:
            raise ConnectionError(f"an answer of {length} bytes")
        found: dict[str, Any] = orjson.loads(await self._out.readexactly(length))
        return found

    async def end(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        self._into.close()
        await self._process.wait()


def _definition(text: str, found: dict[str, Any]) -> Definition:
    if "bug" in found:
        raise RuntimeError(found["bug"])
    if "problems" in found:
        raise PipelineInvalid(PipelineProblem.model_validate(problem) for problem in found["problems"])
    return Definition(text, found["model"], found["repository_keys"])
