"""`make up CLUSTER=kubernetes`: services on this machine, with jobs in the cluster of a kubeconfig.

Problems are reported before anything is started: no kubeconfig, no answer, or no image for the clone
container. Only the namespace of jobs is created.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path

from devstack.errors import DevstackError
from devstack.settings import DevstackSettings, system_variable
from shared.errors import Transient
from shared.kubernetes.client import ApiError, ClusterUnusable, KubernetesApi, Object, open_kubernetes

CLUSTER = "kubernetes"
"""The name of the cluster in table rows."""
ANSWER_SECONDS = 10
_LISTED_IMAGES = 50
"""A node lists at most this number of its images (kubelet's `nodeStatusMaxImages`)."""
_RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "audit", "warn")}


def kubernetes_environment(settings: DevstackSettings) -> dict[str, str]:
    """Return the variables with which the services run jobs in the cluster.

    Raises DevstackError if no kubeconfig is found.
    """
    path = str(kubeconfig_of(system_variable("KUBECONFIG"), Path.home()))
    return {
        "TOWPATH_BACKEND": "kubernetes",
        "TOWPATH_CLUSTER": CLUSTER,
        "TOWPATH_KUBECONFIG": path,
        "TOWPATH_KUBECONFIGS": f"{CLUSTER}={path}",
        "TOWPATH_KUBERNETES_NAMESPACE": settings.kubernetes_namespace,
        "TOWPATH_KUBERNETES_TOWPATH_IMAGE": settings.kubernetes_towpath_image,
    }


def kubeconfig_of(variable: str, home: Path) -> Path:
    """Return the file that KUBECONFIG names, or the one in the home folder. Raises DevstackError."""
    if ":" in variable:
        raise DevstackError(f"KUBECONFIG names several files ({variable}); name the one to use")
    path = Path(variable) if variable else home / ".kube" / "config"
    if not path.is_file():
        what = (
            f"KUBECONFIG names {path}, which is not there"
            if variable
            else f"KUBECONFIG is not set and {path} is not there"
        )
        raise DevstackError(f"no Kubernetes cluster to use: {what}")
    return path.resolve()


def prepare_cluster(settings: DevstackSettings, say: Callable[[str], None]) -> None:
    """Create the namespace of jobs if it does not exist.

    Raises DevstackError with the fix if the cluster cannot be used.
    """
    path = kubeconfig_of(system_variable("KUBECONFIG"), Path.home())
    try:
        asyncio.run(_prepare(path, settings, say))
    except ClusterUnusable as error:
        raise DevstackError(str(error)) from error
    except Transient as error:
        raise DevstackError(f"the cluster of {path} does not answer: {error}") from error
    except ApiError as error:
        raise DevstackError(f"the cluster of {path} refuses: {error}") from error


async def _prepare(path: Path, settings: DevstackSettings, say: Callable[[str], None]) -> None:
    async with open_kubernetes(path, request_seconds=ANSWER_SECONDS) as api:
        version = (await api.get("/version")).get("gitVersion", "")
        say(f"Kubernetes {version} of {path}, namespace {settings.kubernetes_namespace}")
        await _make_namespace(api, settings.kubernetes_namespace)
        nodes: list[Object] = (await api.get("/api/v1/nodes"))["items"]
    if lacks_image(nodes, settings.kubernetes_towpath_image):
        raise DevstackError(
            f"no node of the cluster has the image {settings.kubernetes_towpath_image}, which jobs clone "
            "with. Build it (make images), then load it "
            "(make images ARCHIVE=build/towpath.tar; `k3s ctr images import`, `kind load image-archive` or "
            "`minikube image load` take that file), "
            "or push it to a registry and name it in TOWPATH_KUBERNETES_TOWPATH_IMAGE"
        )


async def _make_namespace(api: KubernetesApi, name: str) -> None:
    try:
        await api.get(f"/api/v1/namespaces/{name}")
    except ApiError as error:
        if error.status != 404:
            raise
        labels = {"app.kubernetes.io/part-of": "towpath", **_RESTRICTED}
        await api.post("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})


def lacks_image(nodes: list[Object], image: str) -> bool:
    """Return True if pods certainly cannot get the image.

    This is so if it is in no registry, and all nodes list all their images without this one.
    """
    if "/" in image:
        return False
    listed = [node["status"].get("images") or [] for node in nodes]
    names = {name for images in listed for one in images for name in one.get("names") or ()}
    known = {image, f"docker.io/library/{image}", f"localhost/{image}"}
    return bool(nodes) and all(len(images) < _LISTED_IMAGES for images in listed) and not names & known
