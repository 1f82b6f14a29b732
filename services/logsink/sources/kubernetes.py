"""Kubernetes source: reads a container's log through the API server.

A background task reads bytes into a bounded inbox. An answer that is not 200, or text without a time, is
never log text.

1. The watch of the pods shows when the container has begun.
2. The task follows the log and puts the lines into the inbox. The position moves with them.
3. The stream ends. Only the pod status proves that the container is over.
4. The log is read once more to its end, and the end is put into the inbox.

Failures:
- The stream breaks or is silent for too long: a new one continues after the last lines.
- The last lines are not in the new answer: a gap is reported.
- Files may have been skipped: the doubtful lines are requested again.
- The API server does not answer: the request is repeated after a backoff.
- The pod is gone, its node is lost, or the log of an ended container is refused repeatedly: the log ends with
  a gap.
"""

import asyncio
import contextlib
import math
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import structlog

from services.logsink.api_log import Answer, Broken, Mode, Piece
from services.logsink.clusters import KubernetesCluster
from services.logsink.lines import LONGEST_LINE_BYTES, NO_LINES, Lines
from services.logsink.locations import PodName
from services.logsink.pod_state import ContainerState, Where
from services.logsink.sources import Cursor, End, Reading
from services.logsink.sources.api_place import Place
from services.logsink.sources.inbox import Inbox
from services.logsink.threads import in_thread
from shared import step_markers
from shared.backoff import backoff
from shared.errors import Transient
from shared.kubernetes.client import ApiError
from shared.masking import Masker

_log = structlog.get_logger()

_INLINE_BYTES = 1 << 16
_ANSWER_SECONDS = 30.0
"""Time limit for the first byte of an answer. If the node is gone, the API server keeps waiting for it."""
_SILENT_SECONDS = (15.0, 300.0)
"""Time without a byte after which a follow is opened again.

The first value is used if the kubelet may have missed a rotation of the file. It doubles up to the second.
"""
_LATE_SILENT_SECONDS = 0.5
"""The same time after a line that was read late.

A follow that is opened again before the kubelet rotates the file is known to have skipped nothing.
"""
_OVER_SECONDS = 5.0
"""Time that a follow may be silent after the container is over."""
_STATE_SECONDS = 1.0
"""Time to wait until the pod status shows the end of a container whose log has ended; mostly long enough."""
REFUSED_SECONDS = (0.2, 5.0, 15.0)
"""Pauses after each of which a refused log of a container that is over is requested again.

Only repeated refusals prove that there is no log, because a kubelet that has just started refuses too.
"""
_REFUSALS = frozenset({400, 404})
_LATE_BEGIN_SECONDS = 3.5
_ROTATED = "the log was rotated before it was read"


class _NoLogText(Exception):
    """The kubelet has written an error message where the log should be."""


@dataclass(frozen=True, slots=True)
class ContainerLog:
    """The log to be read."""

    pod: PodName
    container: str
    rotated_bytes: int
    """Size at which the kubelets rotate log files."""
    has_steps: bool = False
    """True if the container runs steps, so that its log begins with a step marker."""
    longest_line_bytes: int = LONGEST_LINE_BYTES


class KubernetesSource:
    """A `Source` over the log of one container of one pod."""

    def __init__(self, cluster: KubernetesCluster, log: ContainerLog, masker: Masker) -> None:
        self._cluster = cluster
        self._container = log.container
        self._has_steps = log.has_steps
        self._new_answer = partial(Answer, masker, longest_line_bytes=log.longest_line_bytes)
        # the API sends short lines in fewer bytes than the file has
        self._least_rotated_bytes = log.rotated_bytes * 7 // 10
        self._changed = asyncio.Event()
        self._inbox = Inbox(cluster.room, self._changed)
        self._news = asyncio.Event()
        self._pod = cluster.watched(log.pod, self._news)
        self._tasks: list[asyncio.Task[None]] = []
        self._place = Place()
        self._mode = Mode.SEEK
        self._from_beginning = False
        self._gap: str | None = None  # reported with the next lines
        self._whole_until = 0.0  # time of a doubtful line, which is requested again
        self._unended = NO_LINES  # the unfinished line when a stream ended
        self._silent_seconds = 0.0
        self._refusals = 0

    def start_at(self, cursor: Cursor | None) -> None:
        """Sets the position to read from; call it before the first `read`."""
        self._place = Place.from_cursor(cursor)

    async def read(self) -> Reading:
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(work, name=f"log of {self._pod.path}")
                for work in (self._run(), self._pod.run())
            ]
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error
        return await self._inbox.take()

    async def changed(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        self._changed.clear()

    def has_ended(self) -> bool:
        return self._inbox.end is not None

    def attempt_over(self, reason: str | None) -> None:
        self._pod.attempt_over(reason)

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._inbox.close()

    async def _run(self) -> None:
        failures = 0
        try:
            while self._inbox.end is None:
                try:
                    await self._go_on()
                    failures = 0
                except (Transient, ApiError, _NoLogText) as error:
                    failures += 1
                    if not await self._give_up(error):
                        self._inbox.put_failure(str(error))
                        await asyncio.sleep(
                            REFUSED_SECONDS[self._refusals - 1]
                            if self._refusals
                            else backoff(failures, first=0.2, most=10)
                        )
        except Exception:
            self._changed.set()  # the next `read` raises the error
            raise

    async def _go_on(self) -> None:
        """Reads one answer of the API, or puts the end into the inbox."""
        where = await self._where()
        if where is None:
            self._inbox.put_end(End("the pod is gone"), self._unended.ended())
        elif where is Where.NEVER:
            self._inbox.put_end(End(self._gap))
        else:
            await self._read_earlier_starts()
            if where is Where.ENDED:
                await self._read_to_the_end()
            else:
                await self._follow()

    async def _where(self) -> Where | None:
        """Waits until the container has begun, or never will. Returns None if the pod is gone."""
        while not self._pod.is_gone:
            where = self._seen()
            if where not in {None, Where.NOT_BEGUN}:
                return where
            if self._pod.failure:
                self._inbox.put_failure(self._pod.failure)
            await self._news.wait()
            self._news.clear()
        return None

    def _seen(self) -> Where | None:
        return (
            self._pod.state.where(self._container, attempt_is_over=self._pod.attempt_is_over)
            if self._pod.state
            else None
        )

    def _state(self) -> ContainerState | None:
        return self._pod.state.containers.get(self._container) if self._pod.state else None

    async def _follow(self) -> None:
        """Reads lines as they are printed, until the stream ends or is silent for too long."""
        answer = self._answer(follows=True)
        loop = asyncio.get_running_loop()
        async with self._cluster.follow():
            if self._seen() is not Where.RUNNING:  # changed while this waited for its turn
                return
            has_begun = has_ended = False
            watching: asyncio.Task[None] | None = None
            try:
                async with asyncio.timeout(_ANSWER_SECONDS) as limit:
                    async with self._cluster.api.stream(
                        f"{self._pod.path}/log", idle_seconds=None, follow=True, **self._query()
                    ) as chunks:
                        has_begun = True
                        limit.reschedule(loop.time() + self._timeout_seconds(answer))
                        watching = asyncio.create_task(self._shorten(limit))
                        async for chunk in chunks:
                            limit.reschedule(None)  # time spent waiting for room does not count
                            await self._take(answer, chunk)
                            self._silent_seconds = 0.0
                            if answer.broken:
                                break
                            limit.reschedule(loop.time() + self._timeout_seconds(answer))
                has_ended = not answer.broken
            except TimeoutError:
                if not has_begun:
                    raise Transient(f"{self._pod.path}/log: no answer") from None
                self._silent_seconds = 2 * self._timeout_seconds(answer)
            finally:
                if watching:
                    watching.cancel()
        await self._after(answer, has_ended=has_ended)

    async def _after(self, answer: Answer, *, has_ended: bool) -> None:
        """Handles the end of an answer, and waits shortly for the end of the container in the pod status."""
        if has_ended:
            answer.end()
        self._unended = answer.rest()
        self._judge(answer)
        if has_ended and not answer.broken:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STATE_SECONDS):
                    while self._seen() is Where.RUNNING and not self._pod.is_gone:
                        self._news.clear()
                        await self._news.wait()
            if self._seen() is Where.RUNNING:
                await self._pod.check()

    async def _read_to_the_end(self) -> None:
        """Reads the log of a container that is over until nothing more comes.

        An answer may have been cut off without an error, so one answer is not enough.
        """
        before = NO_LINES
        while True:
            rest, is_new = await self._read_once()
            if not is_new and (not rest.text or rest == before):
                break
            before = rest
        state = self._state()
        end = End(self._gap, state.ended_step if state else None)
        self._inbox.put_end(end, rest.ended() if self._gap else rest)

    async def _read_earlier_starts(self) -> None:
        """Reads the rest of the previous log of a service container that was started again."""
        state = self._state()
        if state is None or state.restarts <= self._place.restarts:
            return
        if state.restarts > self._place.restarts + 1:
            self._gap = "the container was started again more often than its log was read"
        else:
            try:
                rest, is_new = await self._read_once(previous=True)
                if is_new:
                    rest, _ = await self._read_once(previous=True)
                if rest.text:
                    await self._inbox.put(rest.ended(), None)
            except (ApiError, _NoLogText) as error:
                self._gap = f"the log before the container's last start can't be read: {error}"
        self._place, self._mode = Place(restarts=state.restarts), Mode.SEEK

    async def _read_once(self, *, previous: bool = False) -> tuple[Lines, bool]:
        """Reads one answer that does not follow.

        Returns the line without a line feed at the log's end, and whether lines were taken, so that more may
        come.
        """
        answer = self._answer(follows=False)
        before = self._place
        query = self._query() | ({"previous": True} if previous else {})
        async with self._cluster.api.stream(
            f"{self._pod.path}/log", idle_seconds=_ANSWER_SECONDS, **query
        ) as chunks:
            async for chunk in chunks:
                await self._take(answer, chunk)
                if answer.broken:
                    break
        answer.end()
        self._judge(answer)
        self._refusals = 0
        return answer.rest(), self._place != before or answer.broken is not None

    def _answer(self, *, follows: bool) -> Answer:
        """Returns a parser for a new answer. Only an answer that follows continues from file to file."""
        whole_until = max(time.time(), self._whole_until) if follows else math.inf
        tail, is_long = self._place.tail, self._is_long
        return self._new_answer(tail, self._mode, can_skip_files=is_long, whole_until=whole_until)

    @property
    def _is_long(self) -> bool:
        """Returns True if the log may have been rotated."""
        return self._place.read_bytes >= self._least_rotated_bytes

    def _query(self) -> dict[str, object]:
        since = self._place.tail.since() if self._place.tail and not self._from_beginning else None
        return {"container": self._container, "timestamps": True, "sinceTime": since}

    async def _take(self, answer: Answer, chunk: bytes) -> None:
        """Puts the lines of a chunk into the inbox.

        The position moves only when they are in the inbox. If this is cancelled before, they are read again.
        """
        feed = partial(answer.feed, chunk, time.time())
        pieces = await in_thread(feed) if len(chunk) > _INLINE_BYTES else feed()
        for piece in pieces:
            if self._place.tail is None:
                self._gap = self._gap or self._late(piece)
            place = replace(
                self._place,
                tail=piece.tail,
                read_bytes=self._place.read_bytes + len(piece.lines.text) + 31 * piece.lines.count,
            )
            await self._inbox.put(piece.lines, place.cursor(), self._gap)
            self._place, self._gap, self._mode, self._from_beginning = place, None, Mode.SEEK, False
        answer.can_skip_files = self._is_long

    def _late(self, piece: Piece) -> str | None:
        """Returns a gap if there were lines before the first one that was read.

        The log of steps must begin with a step marker. In other logs, the first line must not have been
        printed long after the container's start and long before it was read.
        """
        if self._has_steps:
            return None if step_markers.has_first(piece.lines.text) else _ROTATED
        state, first_at = self._state(), piece.lines.at(0)
        if state is None or state.started_at is None or first_at is None:
            return None
        is_late = (first_at - state.started_at).total_seconds() >= _LATE_BEGIN_SECONDS and (
            datetime.now(UTC) - first_at
        ).total_seconds() >= _LATE_BEGIN_SECONDS
        return _ROTATED if is_late else None

    def _judge(self, answer: Answer) -> None:
        """Decides how to continue after an answer that could not be read further. Raises _NoLogText."""
        if answer.broken is Broken.NO_LOG_TEXT:
            raise _NoLogText(answer.failure)
        if answer.broken is Broken.TAIL_MISSING:
            self._gap, self._mode = self._gap or _ROTATED, Mode.SKIP
        elif answer.broken is Broken.WENT_BACK:
            self._from_beginning = True
        elif answer.broken is Broken.DOUBTFUL:
            self._whole_until = answer.whole_until

    async def _give_up(self, error: Transient | ApiError | _NoLogText) -> bool:
        """Ends the log if this failure proves that no more of it will ever be read; returns True if so."""
        why: str | None = None
        if isinstance(error, Transient):
            if self._pod.node_is_lost:
                why = "the node is lost"
        elif self._seen() is Where.ENDED and (isinstance(error, _NoLogText) or error.status in _REFUSALS):
            self._refusals += 1
            if self._refusals > len(REFUSED_SECONDS):
                why = f"the log can't be read: {error}"
        if isinstance(error, ApiError) and error.status == 404:
            with contextlib.suppress(Transient, ApiError):
                await self._pod.check()
        if why:
            self._inbox.put_end(End(why))
        return why is not None

    def _timeout_seconds(self, answer: Answer) -> float:
        """Returns the seconds for which a follow may be silent."""
        if self._pod.node_is_lost or self._seen() is not Where.RUNNING:
            return _OVER_SECONDS
        first, most = _SILENT_SECONDS
        if answer.is_late:
            first = _LATE_SILENT_SECONDS
        return min(most, max(self._silent_seconds, first) if answer.can_skip_files else most)

    async def _shorten(self, limit: asyncio.Timeout) -> None:
        """Cuts a silent follow soon after the container is over, because its connection may be dead."""
        loop = asyncio.get_running_loop()
        while self._seen() is Where.RUNNING and not self._pod.node_is_lost and not self._pod.is_gone:
            self._news.clear()
            await self._news.wait()
        if (deadline := limit.when()) is not None and not limit.expired():
            limit.reschedule(min(deadline, loop.time() + _OVER_SECONDS))
