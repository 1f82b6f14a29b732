"""A real Kubernetes for tests: the choice of the cluster, namespaces for tests, and this machine's address.

`python -m tests.harness.kubernetes` exits with 0 if a cluster answers. Otherwise it prints the reason and
exits with 1.
"""

import asyncio
import ipaddress
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from shared.errors import Transient
from shared.kubernetes.client import ApiError, ClusterUnusable, KubernetesApi, Object, open_kubernetes

TOWPATH_IMAGE = os.environ.get("TOWPATH_TEST_TOWPATH_IMAGE") or "towpath:latest"
"""The Towpath image for the container `clone`. The cluster must have it."""
JOB_IMAGE = os.environ.get("TOWPATH_TEST_JOB_IMAGE") or "debian:bookworm-slim"
"""An image with git, python3 and curl. The cluster must have it."""
SERVICE_IMAGE = os.environ.get("TOWPATH_TEST_SERVICE_IMAGE") or "towpath-test-service:latest"
"""The job image with the entry point `sh -c "$RUN"`. The cluster must have it."""
KUBELET_PID_FILE = os.environ.get("TOWPATH_TEST_KUBELET_PID_FILE", "")
"""The pid file of a kubelet on this machine that a test may stop for a while. Empty if there is none."""


def kubeconfig() -> Path | None:
    """Return the file that TOWPATH_TEST_KUBECONFIG or else KUBECONFIG names, or None if there is none."""
    named = os.environ.get("TOWPATH_TEST_KUBECONFIG") or os.environ.get("KUBECONFIG")
    return Path(named) if named and Path(named).is_file() else None


async def why_not() -> str | None:
    """Return the reason why no Kubernetes can be used, or None if one answers."""
    path = kubeconfig()
    if path is None:
        return "no Kubernetes: neither TOWPATH_TEST_KUBECONFIG nor KUBECONFIG names a file"
    try:
        async with open_kubernetes(path, request_seconds=5) as api:
            await api.get("/version")
    except (ClusterUnusable, Transient, ApiError) as error:
        return f"no Kubernetes: {path} names a cluster that does not answer ({error})"
    return None


@asynccontextmanager
async def namespace(api: KubernetesApi, security: str = "restricted") -> AsyncIterator[str]:
    """Create a namespace with this Pod Security level.

    After the block its deletion is started, not awaited.
    """
    name = f"tpt-{secrets.token_hex(5)}"
    labels = {"app.kubernetes.io/managed-by": "towpath-tests", "pod-security.kubernetes.io/enforce": security}
    await api.post("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    try:
        yield name
    finally:
        await api.delete(f"/api/v1/namespaces/{name}", {"propagationPolicy": "Background"})


async def nodes_for_pods(api: KubernetesApi) -> list[Object]:
    """Return the nodes that accept pods without tolerations, as those of jobs.

    They include nodes that are cordoned or unreachable at the moment, but not simulated nodes.
    """
    nodes: list[Object] = (await api.get("/api/v1/nodes"))["items"]
    return [
        node
        for node in nodes
        if all(taint["key"].startswith("node.kubernetes.io/") for taint in node["spec"].get("taints") or ())
    ]


async def nodes_ready(api: KubernetesApi) -> bool:
    """Return whether all nodes for pods are ready."""
    conditions = [
        condition
        for node in await nodes_for_pods(api)
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready"
    ]
    return all(condition["status"] == "True" for condition in conditions)


async def host_for_pods(api: KubernetesApi) -> str:
    """Return this machine's address as pods see it.

    It is TOWPATH_TEST_POD_HOST, or else the first of these addresses that belongs to this machine: the first
    address of each node's pod range, then the addresses of the nodes.
    """
    named = os.environ.get("TOWPATH_TEST_POD_HOST")
    if named:
        return named
    nodes: list[Object] = (await api.get("/api/v1/nodes"))["items"]
    ranges = [ipaddress.ip_network(cidr) for node in nodes if (cidr := node["spec"].get("podCIDR"))]
    addresses: list[str] = [
        address["address"]
        for node in nodes
        for address in node["status"].get("addresses", [])
        if address["type"] == "InternalIP"
    ]
    for address in (*(str(next(pods.hosts())) for pods in ranges), *addresses):
        if _is_ours(address):
            _keep_hardware_address(address)
            return address
    raise AssertionError(
        "pods can't reach this machine: set TOWPATH_TEST_POD_HOST to its address as they see it"
    )


def _is_ours(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _keep_hardware_address(address: str) -> None:
    """Fix the hardware address of the bridge that has this address.

    Otherwise the bridge takes the hardware address of one of its ports, and a different one when that port is
    removed with its pod. Pods that know the old one then reach nothing for half a minute. Does nothing if the
    device is not a bridge or this process is not root.
    """
    shown = subprocess.run(
        ["ip", "-o", "address", "show", "to", address], capture_output=True, text=True, check=False
    ).stdout.split()
    device = Path("/sys/class/net") / (shown[1] if len(shown) > 1 else "none")
    if os.geteuid() == 0 and (device / "bridge").is_dir():
        subprocess.run(
            ["ip", "link", "set", "dev", device.name, "address", (device / "address").read_text().strip()],
            check=True,
        )


def main() -> None:
    reason = asyncio.run(why_not())
    print(
        f"Not run with Kubernetes: {reason}" if reason else f"Kubernetes answers: {kubeconfig()}", flush=True
    )
    sys.exit(1 if reason else 0)


if __name__ == "__main__":
    main()
