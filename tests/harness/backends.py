"""What an installation's jobs run on, and how tests reach into them: the local cluster's processes, or pods
of a real Kubernetes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.harness.oracle import FileGate, FileOracle, Gate, Oracle
from tests.harness.witness import Witness


class Backend(Protocol):
    @property
    def environment(self) -> Mapping[str, str]:
        """Of the services."""

    def oracle(self) -> Oracle: ...

    def gate(self) -> Gate: ...

    def clone_url(self, folder: Path) -> str:
        """Of a git repository on this machine."""


@dataclass(frozen=True)
class LocalBackend:
    """`mounts`: what jobs may write beside their own folders."""

    mounts: Path

    @property
    def environment(self) -> Mapping[str, str]:
        return {"TOWPATH_LOCAL_MOUNTS": str(self.mounts)}

    def oracle(self) -> Oracle:
        return FileOracle(self.mounts)

    def gate(self) -> Gate:
        return FileGate(self.mounts)

    def clone_url(self, folder: Path) -> str:
        return f"file://{folder}"


@dataclass(frozen=True)
class KubernetesBackend:
    """Pods in a namespace of a real cluster; they reach this machine by HTTP."""

    witness: Witness
    namespace: str
    environment: Mapping[str, str]

    def oracle(self) -> Oracle:
        return self.witness.oracle()

    def gate(self) -> Gate:
        return self.witness.gate()

    def clone_url(self, folder: Path) -> str:
        return self.witness.clone_url(folder)
