"""The backends on which an installation runs jobs, and the means by which tests reach into these jobs.

A backend is the local cluster (processes) or a real Kubernetes (pods).
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
        """Return the environment variables that this backend adds to the services."""

    def oracle(self) -> Oracle: ...

    def gate(self) -> Gate: ...

    def clone_url(self, folder: Path) -> str:
        """Return the URL by which jobs clone a git repository of this machine."""


@dataclass(frozen=True)
class LocalBackend:
    """Jobs as processes of this machine.

    `mounts` is the folder outside their own folders that they may write to.
    """

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
    """Jobs as pods in a namespace of a real cluster. They reach this machine over HTTP."""

    witness: Witness
    namespace: str
    environment: Mapping[str, str]

    def oracle(self) -> Oracle:
        return self.witness.oracle()

    def gate(self) -> Gate:
        return self.witness.gate()

    def clone_url(self, folder: Path) -> str:
        return self.witness.clone_url(folder)
