"""Where a container's log is, as `attempts.log_location` says it.

Pure. An absolute path is a pod's directory of the local cluster; `kubernetes:///<namespace>/<pod>/<uid>` is
followed through the API server of the attempt's cluster; `node:///<namespace>/<pod>/<uid>` is read on the
pod's node by the agent there.
"""

from dataclasses import dataclass
from pathlib import Path

NODE_SCHEME = "node:///"
API_SCHEME = "kubernetes:///"


@dataclass(frozen=True, slots=True)
class PodName:
    """One pod of a Kubernetes cluster. A name may be given to another pod later; the uid never is."""

    namespace: str
    name: str
    uid: str

    @property
    def node_location(self) -> str:
        return f"{NODE_SCHEME}{self.namespace}/{self.name}/{self.uid}"

    @property
    def directory(self) -> str:
        """The name of its directory under the kubelet's `/var/log/pods`."""
        return f"{self.namespace}_{self.name}_{self.uid}"


def parse(location: str) -> Path | PodName | None:
    """None for a kind that this release does not know."""
    if location.startswith("/"):
        return Path(location)
    for scheme in (API_SCHEME, NODE_SCHEME):
        if location.startswith(scheme):
            parts = location.removeprefix(scheme).split("/")
            return PodName(*parts) if len(parts) == 3 and all(parts) else None
    return None


def of_directory(name: str) -> PodName | None:
    """The pod of such a directory: neither namespace nor name nor uid holds an underscore."""
    parts = name.split("_")
    return PodName(*parts) if len(parts) == 3 and all(parts) else None
