"""Towpath deployed into a real cluster: the overlay `external`, filled in as an administrator does.

PostgreSQL and RabbitMQ are the servers of this machine.
"""

import asyncio
import base64
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from devstack.stack import SERVICES
from shared.kubernetes.client import ApiError, KubernetesApi, Object
from tests.harness.installation import GITEA_SECRET, GITHUB_SECRET
from tests.harness.kubectl import kubectl
from tests.harness.waiting import until

NAMESPACES = ("towpath", "towpath-builds")
OURS = {"towpath.dev/made-by": "tests"}
"""The label of namespaces that a test may delete."""
_DEPLOY = Path(__file__).parents[2] / "deploy" / "k8s"


@dataclass(frozen=True)
class Deployment:
    """A deployment that tests use like a stack of processes. Its address is the gateway's Service."""

    api: KubernetesApi
    overlay: Path
    url: str
    token: str

    def address(self) -> str:
        return self.url

    async def pods(self, service: str) -> list[Object]:
        """Return the service's pods without those that are being deleted."""
        query = {"labelSelector": f"app.kubernetes.io/name={service}"}
        found: list[Object] = (await self.api.get("/api/v1/namespaces/towpath/pods", **query))["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    async def apply(self, overlay: Path) -> None:
        """Apply another version of the same deployment.

        Returns when every service is rolled out and the replaced pods have ended.
        """
        await kubectl("apply", "-k", str(overlay))
        for service in SERVICES:
            await kubectl("-n", "towpath", "rollout", "status", f"deployment/{service}", "--timeout=180s")
        await until(self._nothing_is_ending, within=120, what="the end of the pods that were replaced")

    async def _nothing_is_ending(self) -> bool:
        found: list[Object] = (await self.api.get("/api/v1/namespaces/towpath/pods"))["items"]
        return not any("deletionTimestamp" in pod["metadata"] for pod in found)

    async def all_ready(self) -> bool:
        for service in SERVICES:
            found = await self.api.get(f"/apis/apps/v1/namespaces/towpath/deployments/{service}")
            wanted, status = found["spec"]["replicas"], found["status"]
            counts = [
                status.get(name, 0)
                for name in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
            ]
            if counts != [wanted] * 4 or status.get("observedGeneration") != found["metadata"]["generation"]:
                return False
        return True


def filled_in(folder: Path, database_url: str, amqp_url: str, settings: dict[str, str]) -> Path:
    """Copy `deploy/k8s`, fill in the placeholders of the overlay `external`, and return its folder."""
    shutil.copytree(_DEPLOY, folder / "k8s")
    overlay = folder / "k8s" / "overlays" / "external"
    connections = {
        "TOWPATH_DATABASE_URL": database_url,
        "TOWPATH_AMQP_URL": amqp_url,
        "TOWPATH_ALLOW_DEFAULT_PASSWORDS": "true",
    }  # of a test's server
    (overlay / "connections.env").write_text(
        "".join(f"{name}={value}\n" for name, value in connections.items())
    )
    (overlay / "webhooks.env").write_text(
        f"TOWPATH_GITHUB_WEBHOOK_SECRET={GITHUB_SECRET}\nTOWPATH_GITEA_WEBHOOK_SECRET={GITEA_SECRET}\n"
    )
    (overlay / "encryption-keys").write_text(f"1:{base64.b64encode(secrets.token_bytes(32)).decode()}\n")
    (overlay / "settings.env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    return overlay


def with_node_agent(overlay: Path) -> Path:
    """Copy the overlay and add the component that reads logs on the nodes."""
    other = overlay.with_name("with-node-agent")
    shutil.copytree(overlay, other)
    with (other / "kustomization.yaml").open("a") as kustomization:
        kustomization.write("components: [../../components/node-agent]\n")
    return other


@asynccontextmanager
async def deployed(api: KubernetesApi, overlay: Path) -> AsyncIterator[Deployment]:
    """Apply the overlay, wait until it is ready, and delete its namespaces after the block.

    The test is skipped if the cluster already has a Towpath that no test has made.
    """
    await removed(api)
    try:
        for name in NAMESPACES:
            await api.post("/api/v1/namespaces", {"metadata": {"name": name, "labels": OURS}})
        await kubectl("apply", "-k", str(overlay))
        await kubectl(
            "-n", "towpath", "wait", "--for=condition=complete", "--timeout=180s", "job/towpath-migrate"
        )
        for service in SERVICES:
            await kubectl("-n", "towpath", "rollout", "status", f"deployment/{service}", "--timeout=180s")
        printed = await kubectl("-n", "towpath", "logs", "job/towpath-migrate", "-c", "bootstrap")
        token = next(
            line.removeprefix("TOWPATH_TOKEN=")
            for line in printed.splitlines()
            if line.startswith("TOWPATH_TOKEN=")
        )
        gateway = await api.get("/api/v1/namespaces/towpath/services/gateway")
        yield Deployment(api, overlay, f"http://{gateway['spec']['clusterIP']}", token.strip())
    finally:
        await removed(api)


async def removed(api: KubernetesApi) -> None:
    """Delete the namespaces that an earlier test left, and wait until they are gone.

    Skips the test if a namespace of that name does not have the label `OURS`.
    """
    for found in (await api.get("/api/v1/namespaces"))["items"]:
        name, labels = found["metadata"]["name"], found["metadata"].get("labels", {})
        if name not in NAMESPACES:
            continue
        if not OURS.items() <= labels.items():
            pytest.skip(
                f"this cluster has a namespace {name} that no test has made: Towpath is deployed here"
            )
        try:
            await api.delete(f"/api/v1/namespaces/{name}", {"propagationPolicy": "Background"})
        except ApiError as error:
            if error.status not in {404, 409}:
                raise

    async def gone() -> bool:
        names = {item["metadata"]["name"] for item in (await api.get("/api/v1/namespaces"))["items"]}
        return not names & set(NAMESPACES)

    await until(gone, within=180, what="the end of the namespaces of an earlier deployment")


@asynccontextmanager
async def reachable_from_pods(host: str, url: str) -> AsyncIterator[str]:
    """Forward an address that pods reach to a server on this machine's loopback, and yield its URL there."""
    parts = urlsplit(url)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(parts.hostname, parts.port)
            await asyncio.gather(_pass(reader, back), _pass(there, writer))
        except OSError:
            writer.close()

    server = await asyncio.start_server(serve, host, 0)
    credentials, _, _ = parts.netloc.rpartition("@")
    port = server.sockets[0].getsockname()[1]
    try:
        yield parts._replace(netloc=f"{credentials}@{host}:{port}").geturl()
    finally:
        server.close()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
