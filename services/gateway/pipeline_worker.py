"""`python -m services.gateway.pipeline_worker`: reads pipelines for a gateway, one after the other.

Each document arrives on standard input as its length in 4 bytes followed by its text. The answer is JSON in
the same format on standard output. The process ends when its input ends, so it does not outlive its gateway.
"""

import os
import sys
import traceback
from typing import Any, BinaryIO

import orjson

from shared.pipeline.errors import PipelineInvalid
from shared.pipeline.globs import repository_keys
from shared.pipeline.load import load

LENGTH_BYTES = 4
NICENESS = 10
"""The worker's niceness, so that webhooks and other requests get the processor first."""


def frame(content: bytes) -> bytes:
    return len(content).to_bytes(LENGTH_BYTES) + content


def answer(text: bytes) -> dict[str, Any]:
    """Return `model` and `repository_keys` of a valid pipeline, `problems` of an invalid one, or `bug`.

    `bug` is a traceback.
    """
    try:
        pipeline = load(text)
    except PipelineInvalid as error:
        return {"problems": [problem.model_dump() for problem in error.problems]}
    except Exception:  # noqa: BLE001 - the outermost edge: the gateway logs it, and the next document is read
        return {"bug": traceback.format_exc()}
    keys = repository_keys(pipeline.repositories)
    return {"model": pipeline.model_dump(mode="json"), "repository_keys": keys}


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
