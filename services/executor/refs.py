"""Resolves the refs of events that have no delivery, once each.

The scheduler asks with a row of `ref_requests`; this module answers with a row of `ref_resolutions` and a
message. The first answer counts. A server that gives none is asked again by the reconciler, until the request
is older than `give_up_seconds`. Then the answer is `not_resolved`.
"""

import asyncio
from collections.abc import Iterable, Sequence

import structlog

from services.executor.git_queries import Answer, GitQueries, NotAnswered, Question
from services.executor.planning import OpenToken
from services.executor.store import ExecutorStore, RefRequest
from shared.crypto import DecryptionFailed
from shared.errors import Transient
from shared.messaging.messages import RefResolved
from shared.tracing import traced

_log = structlog.get_logger()


class Refs:
    """The operation on refs. Safe to repeat and for concurrent use."""

    def __init__(
        self,
        store: ExecutorStore,
        queries: GitQueries,
        cluster: str,
        open_token: OpenToken,
        give_up_seconds: float,
    ) -> None:
        self._store = store
        self._queries = queries
        self._cluster = cluster
        self._open_token = open_token
        self._give_up_seconds = give_up_seconds
        self._under_way: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def resolve(self, event_ids: Iterable[int]) -> int:
        """Resolve those of these refs that have no answer. Return how many got one. Raises Transient."""
        wanted = sorted(set(event_ids) - self._under_way)
        self._under_way |= set(wanted)
        try:
            async with self._store.reading() as work:
                requests = await work.ref_requests(self._cluster, wanted)
            return sum(await asyncio.gather(*map(self._resolve_one, requests)))
        finally:
            self._under_way -= set(wanted)

    def begin(self, event_ids: Iterable[int]) -> None:
        """Resolve these refs in a task, so that slow servers do not delay attempts.

        If the task fails or the process ends, the reconciler resolves them.
        """
        task = asyncio.get_running_loop().create_task(self._resolve_in_task(list(event_ids)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _resolve_in_task(self, event_ids: Sequence[int]) -> None:
        try:
            await self.resolve(event_ids)
        except Transient as error:
            _log.info("refs_wait", event_ids=event_ids, why=str(error))

    async def _resolve_one(self, request: RefRequest) -> bool:
        with traced(request.traceparent):
            answer = await self._answer(request)
            if answer is None:
                return False
            async with self._store.transaction() as work:
                if await work.insert_resolution(request.event_id, answer.outcome, answer.sha, answer.message):
                    work.send(RefResolved(event_ids=(request.event_id,)))
            return True

    async def _answer(self, request: RefRequest) -> Answer | None:
        """Return the answer, or None if the server has to be asked again later."""
        try:
            sealed = request.clone_token
            token = None if sealed is None else self._open_token(sealed, request.repository_id)
            return await self._queries.answer(Question(request.clone_url, request.ref, request.sha, token))
        except DecryptionFailed as error:
            why = f"The repository's clone token can't be used: {error}."
        except NotAnswered as error:
            why = str(error)
        _log.info("ref_not_resolved", event_id=request.event_id, why=why)
        if request.age_seconds < self._give_up_seconds:
            return None
        return Answer("not_resolved", None, f"The repository's server could not be asked: {why}")
