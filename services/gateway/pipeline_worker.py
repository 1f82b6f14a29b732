"""`python -m services.gateway.pipeline_worker`: reads and previews pipelines for a gateway, one by one.

Each request arrives on standard input as its length in 4 bytes followed by its content: the text of a
pipeline, or a NUL and a `PreviewOrder` as JSON. No text of a pipeline begins with a NUL. The answer is JSON
in the same format on standard output. The process ends when its input ends, so it does not outlive its
gateway.
"""

import os
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import orjson
from pydantic import TypeAdapter

from shared.matching import PatternBudget
from shared.pipeline.errors import PipelineInvalid
from shared.pipeline.globs import repository_keys
from shared.pipeline.load import load
from shared.preview import Case, preview

PREVIEW = b"\0"
"""The first byte of a request for previews."""
LENGTH_BYTES = 4
NICENESS = 10
"""The worker's niceness, so that webhooks and other requests get the processor first."""


@dataclass(frozen=True, slots=True)
class PreviewOrder:
    """A request for previews. Each case names its model by its position."""

    models: list[dict[str, Any]]
    cases: list[tuple[int, Case]]
    pattern_steps: int
    """Steps of glob matching that one event may cost each owner, as in the scheduler."""
    seconds: float
    """The processor time for all cases together."""


_ORDER = TypeAdapter(PreviewOrder)


def frame(content: bytes) -> bytes:
    return len(content).to_bytes(LENGTH_BYTES) + content


def answer(text: bytes) -> dict[str, Any]:
    """Return `model` and `repository_keys` of a valid pipeline, `problems` of an invalid one, or `bug`.

    `bug` is a traceback. The answer to a `PreviewOrder` is that of `previews`.
    """
    try:
        if text.startswith(PREVIEW):
            return previews(_ORDER.validate_json(text[len(PREVIEW) :]))
        pipeline = load(text)
    except PipelineInvalid as error:
        return {"problems": [problem.model_dump() for problem in error.problems]}
    except Exception:  # noqa: BLE001 - the outermost edge: the gateway logs it, and the next document is read
        return {"bug": traceback.format_exc()}
    keys = repository_keys(pipeline.repositories)
    return {"model": pipeline.model_dump(mode="json"), "repository_keys": keys}


def previews(order: PreviewOrder) -> dict[str, Any]:
    """Return `previews` of all cases in order, or `exceeded_after`: how many fit into the time."""
    budget = PatternBudget(order.pattern_steps)
    until = time.process_time() + order.seconds
    found: list[dict[str, Any]] = []
    for model, case in order.cases:
        if time.process_time() > until:
            return {"exceeded_after": len(found)}
        found.append(asdict(preview(order.models[model], case, budget)))
    return {"previews": found}


def serve(source: BinaryIO, target: BinaryIO) -> None:
    """Read and answer documents until the input ends."""
    while len(length := source.read(LENGTH_BYTES)) == LENGTH_BYTES:
        text = source.read(int.from_bytes(length))
        target.write(frame(orjson.dumps(answer(text))))
        target.flush()


if __name__ == "__main__":
    os.nice(NICENESS)
    try:
        serve(sys.stdin.buffer, sys.stdout.buffer)
    except BrokenPipeError:
        os._exit(0)  # the gateway has ended, and nothing needs to be flushed
