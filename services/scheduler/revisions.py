"""Cache of the models of pipeline revisions. A revision never changes, so a cached model is never stale."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence

import structlog
from pydantic import ValidationError

from services.scheduler.pace import Pace
from services.scheduler.store import SchedulerWork
from shared.pipeline.model import Pipeline

_log = structlog.get_logger()

_PORTION = 20


class Revisions:
    """The most recently used models of this process.

    The number of models is bounded. A model that was evicted is read again.
    """

    def __init__(self, most: int = 500, pattern_steps: int = 50_000) -> None:
        self._most = most
        self.pattern_steps = pattern_steps
        """Steps of glob matching that one event may cost each owner of pipelines."""
        self._models: OrderedDict[int, Pipeline | None] = OrderedDict()

    async def get(self, work: SchedulerWork, ids: Iterable[int]) -> dict[int, Pipeline | None]:
        """Returns the models of these revisions; None for a model that this release cannot read."""
        wanted = set(ids)
        found = {
            revision_id: self._models[revision_id] for revision_id in wanted if revision_id in self._models
        }
        if missing := wanted - found.keys():
            pace = Pace()
            for some in _portions(sorted(missing)):
                for revision_id, model in (await work.revisions(some)).items():
                    await pace.keep()
                    found[revision_id] = _readable(revision_id, model)
        for revision_id, model in found.items():
            self._models[revision_id] = model
            self._models.move_to_end(revision_id)
        while len(self._models) > self._most:
            self._models.popitem(last=False)
        return found


def _portions(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    """Splits ids into small portions, because the JSON of one model may have 1 MiB.

    Larger portions would fill the memory and take long to read.
    """
    return (ids[start : start + _PORTION] for start in range(0, len(ids), _PORTION))


def _readable(revision_id: int, model: object) -> Pipeline | None:
    """Returns the model, or logs an error and returns None if this release cannot read it.

    An unreadable revision must not affect other owners whose pipelines the same event starts.
    """
    try:
        return Pipeline.model_validate(model)
    except ValidationError:
        _log.exception("revision_unreadable", revision_id=revision_id)
        return None
