"""A real Kubernetes for tests: which one, namespaces of their own, and how its pods reach this machine.

`python -m tests.harness.kubernetes` ends 0 where one answers, and says why not otherwise.
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
from shared.kubernetes import ApiError, ClusterUnusable, KubernetesApi, Object, open_kubernetes

TOWPATH_IMAGE = os.environ.get("TOWPATH_TEST_TOWPATH_IMAGE") or "towpath:latest"
"""Our own image, of the container `clone`; the cluster has it."""
JOB_IMAGE = os.environ.get("TOWPATH_TEST_JOB_IMAGE") or "debian:bookworm-slim"
"""With git, python3 and curl; the cluster has it."""
SERVICE_IMAGE = os.environ.get("TOWPATH_TEST_SERVICE_IMAGE") or "towpath-test-service:latest"
"""The job image with the entry point `sh -c "$RUN"`; the cluster has it."""
KUBELET_PID_FILE = os.environ.get("TOWPATH_TEST_KUBELET_PID_FILE", "")
"""Of a node on this machine that a test may stop for a while; empty: none."""


def kubeconfig() -> Path | None:
    """TOWPATH_TEST_KUBECONFIG, else KUBECONFIG; None where neither names a file."""
    named = os.environ.get("TOWPATH_TEST_KUBECONFIG") or os.environ.get("KUBECONFIG")
    return Path(named) if named and Path(named).is_file() else None


async def why_not() -> str | None:
    """Why no Kubernetes can be used, in plain words; None where one answers."""
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
    """A namespace of the test's own, with this level of Pod Security; it is asked to go after the block."""
    name = f"tpt-{secrets.token_hex(5)}"
    labels = {"app.kubernetes.io/managed-by": "towpath-tests", "pod-security.kubernetes.io/enforce": security}
    await api.post("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    try:
        yield name
    finally:
        await api.delete(f"/api/v1/namespaces/{name}", {"propagationPolicy": "Background"})


async def nodes_for_pods(api: KubernetesApi) -> list[Object]:
    """The nodes that take pods which tolerate nothing, as jobs do; for the moment they may be cordoned or out
    of reach. Simulated nodes are none of them.
    """
    nodes: list[Object] = (await api.get("/api/v1/nodes"))["items"]
    return [
        node
        for node in nodes
        if all(taint["key"].startswith("node.kubernetes.io/") for taint in node["spec"].get("taints") or ())
    ]


async def nodes_ready(api: KubernetesApi) -> bool:
    """Whether all of them are."""
    conditions = [
        condition
        for node in await nodes_for_pods(api)
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready"
    ]
    return all(condition["status"] == "True" for condition in conditions)


async def host_for_pods(api: KubernetesApi) -> str:
    """This machine's address as pods see it: TOWPATH_TEST_POD_HOST, else an address of a node, or the first
    of its pods' range, that is ours.
    """
    named = os.environ.get("TOWPATH_TEST_POD_HOST")
    if named:
        return named
    nodes: list[Object] = (await api.get("/api/v1/nodes"))["items"]
    ranges = [ipaddress.ip_network(cidr) for node in nodes if (cidr := node["spec"].get("podCIDR"))]
    addresses = [
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
    """Of the bridge that has this address: otherwise it takes that of a port, and another when the port goes
    with its pod. Pods that know the old one then talk to nobody for half a minute. Only root can; nothing
    changes where it is no bridge.
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
