"""Reads the outputs of a job's steps from the log of the container `outputs`.

An API server may cut the answer without notice. The log is therefore read until it is complete, or until two
answers are equal.
"""

from services.executor import outputs_container
from services.executor.kubernetes.names import OUTPUTS_CONTAINER
from services.executor.step_outputs import LIMIT_BYTES, Collected, OutputsProblem
from shared.errors import Transient
from shared.kubernetes.client import ApiError, KubernetesApi

_LOG_BYTES = 16 * LIMIT_BYTES
"""In JSON a character takes up to 6 bytes, and base64 adds a third."""
_IDLE_SECONDS = 10.0


async def read_outputs(api: KubernetesApi, pod_path: str) -> Collected:
    """Return the outputs that this pod has printed. Raises Transient if there is no answer."""
    before: bytes | None = None
    while True:
        log = await _log_of(api, pod_path)
        collected = None if log is None else outputs_container.read(log)
        if collected is not None:
            return collected
        if log is None or log == before:
            return Collected(problem=OutputsProblem.LOST)
        before = log


async def _log_of(api: KubernetesApi, pod_path: str) -> bytes | None:
    """Return the container's log, or None if there is none any more."""
    log = bytearray()
    try:
        async with api.stream(
            f"{pod_path}/log", idle_seconds=_IDLE_SECONDS, container=OUTPUTS_CONTAINER, limitBytes=_LOG_BYTES
        ) as chunks:
            async for chunk in chunks:
                log += chunk
                if len(log) > _LOG_BYTES:
                    break
    except ApiError as error:
        if error.status in (204, 400, 404):  # it never started, or is gone
            return None
        raise Transient(f"Kubernetes API: {error}") from error
    return bytes(log)
