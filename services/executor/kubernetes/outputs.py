"""Reads the outputs of a job's steps from the log of the container `outputs`.

An API server may cut the answer without notice. The log is therefore read until it is complete, or until two
answers are equal. Every read goes through the kubelet of the pod's node. If this node does not answer, only
its own pods wait, and not for ever: all others get their verdicts.
"""

from dataclasses import dataclass, replace

import structlog

from services.executor import outputs_container
from services.executor.backend import Phase, Pod
from services.executor.kubernetes.names import OUTPUTS_CONTAINER
from services.executor.step_outputs import LIMIT_BYTES, Collected, OutputsProblem
from shared.errors import Transient
from shared.kubernetes.client import ApiError, KubernetesApi

_log = structlog.get_logger()
_LOG_BYTES = 16 * LIMIT_BYTES
"""In JSON a character takes up to 6 bytes, and base64 adds a third."""
_IDLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class OutputsReader:
    """Reads outputs of ended pods. Safe for concurrent use."""

    api: KubernetesApi
    pods: str
    """The path of the pods in the API."""
    give_up_seconds: float
    """Time after the end of a job at which the outputs count as lost if the node does not answer."""

    async def complete(self, pod: Pod, seconds: float) -> Pod:
        """Return the ended pod with its outputs; it ended at least so many seconds ago.

        If the node does not answer, the pod counts as not ended, and a later observation tries again.
        """
        if pod.end is None:
            return pod
        try:
            collected = await self._read(pod.name)
        except Transient as error:
            if seconds < self.give_up_seconds:
                _log.info("outputs_wait", pod=pod.name, why=str(error))
                return replace(pod, phase=Phase.RELEASED, end=None)
            collected = Collected(problem=OutputsProblem.LOST)
        end = replace(pod.end, outputs=collected.outputs, outputs_problem=collected.problem)
        return replace(pod, end=end)

    async def _read(self, pod_name: str) -> Collected:
        """Return the outputs that this pod has printed. Raises Transient if there is no answer."""
        before: bytes | None = None
        while True:
            log = await self._log_of(pod_name)
            collected = None if log is None else outputs_container.read(log)
            if collected is not None:
                return collected
            if log is None or log == before:
                return Collected(problem=OutputsProblem.LOST)
            before = log

    async def _log_of(self, pod_name: str) -> bytes | None:
        """Return the container's log, or None if there is none, or none for this executor."""
        log = bytearray()
        query = {"container": OUTPUTS_CONTAINER, "limitBytes": _LOG_BYTES}
        try:
            async with self.api.stream(
                f"{self.pods}/{pod_name}/log", idle_seconds=_IDLE_SECONDS, **query
            ) as chunks:
                async for chunk in chunks:
                    log += chunk
                    if len(log) > _LOG_BYTES:
                        break
        except ApiError as error:
            _log.warning("outputs_not_readable", pod=pod_name, why=str(error))
            return None
        return bytes(log)
