"""Log locations: parses `attempts.log_location`, the place of a container's log.

- An absolute path is a pod's directory of the local cluster.
- `kubernetes:///<namespace>/<pod>/<uid>` is read through the API server of the attempt's cluster.
- `node:///<namespace>/<pod>/<uid>` is read by the agent on the pod's node.
"""

from dataclasses import dataclass
from pathlib import Path

NODE_SCHEME = "node:///"
API_SCHEME = "kubernetes:///"


@dataclass(frozen=True, slots=True)
class PodName:
    """A pod of a Kubernetes cluster. Another pod may get the same name later, but never the same uid."""

    namespace: str
    name: str
    uid: str

    @property
    def node_location(self) -> str:
        return f"{NODE_SCHEME}{self.namespace}/{self.name}/{self.uid}"

    @property
    def directory(self) -> str:
        """Returns the name of its directory under the kubelet's `/var/log/pods`."""
        return f"{self.namespace}_{self.name}_{self.uid}"


def parse(location: str) -> Path | PodName | None:
    """Returns the directory or the pod of a location, or None for a kind that this release does not know."""
    if location.startswith("/"):
        return Path(location)
    for scheme in (API_SCHEME, NODE_SCHEME):
        if location.startswith(scheme):
            parts = location.removeprefix(scheme).split("/")
            return PodName(*parts) if len(parts) == 3 and all(parts) else None
    return None


def of_directory(name: str) -> PodName | None:
    """Returns the pod of such a directory, or None. Namespaces, names and uids contain no underscore."""
    parts = name.split("_")
    return PodName(*parts) if len(parts) == 3 and all(parts) else None
