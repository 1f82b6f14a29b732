"""`make up CLUSTER=kubernetes`: the services of this machine with jobs in the cluster of KUBECONFIG."""

import asyncio
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from devstack.api import Api
from devstack.places import scratch_directory
from devstack.state import read_environment
from shared.kubernetes.client import ApiError, KubernetesApi
from tests.harness.github import FakeRepository, push
from tests.harness.installation import one_job
from tests.harness.kubernetes import JOB_IMAGE, TOWPATH_IMAGE, kubeconfig
from tests.harness.waiting import until

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.kubernetes,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        os.environ.get("TOWPATH_TEST_BACKEND") == "kubernetes",
        reason="chooses its backend itself: run once, with the local one",
    ),
]


@pytest.fixture
def checkout() -> Iterator[Path]:
    """Yield a copy of this checkout, with a stack of its own. Stop and remove it afterwards."""
    copy = scratch_directory() / "towpath"
    unwanted = shutil.ignore_patterns(
        ".git", ".venv", ".towpath", ".*_cache", ".hypothesis", "__pycache__", "build"
    )
    shutil.copytree(ROOT, copy, ignore=unwanted)
    yield copy
    run(copy, "down")
    shutil.rmtree((copy / ".towpath").resolve(), ignore_errors=True)
    shutil.rmtree(copy.parent, ignore_errors=True)


@pytest.fixture
async def namespace(kubernetes: KubernetesApi) -> AsyncIterator[str]:
    """Yield the name of a namespace that does not exist. Delete that namespace afterwards."""
    name = f"tpt-{secrets.token_hex(5)}"
    yield name
    try:
        await kubernetes.delete(f"/api/v1/namespaces/{name}", {"propagationPolicy": "Background"})
    except ApiError as error:
        if error.status != 404:
            raise


async def test_a_push_becomes_a_green_run_in_a_namespace_that_was_made_for_it(
    kubernetes: KubernetesApi, namespace: str, checkout: Path
) -> None:
    done = await asyncio.to_thread(run, checkout, "up", namespace)
    assert done.returncode == 0, done.stdout + done.stderr

    made = await kubernetes.get(f"/api/v1/namespaces/{namespace}")
    assert made["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    values = read_environment(checkout / ".towpath" / "env")
    async with aiohttp.ClientSession() as session:
        api = Api(session, values["TOWPATH_URL"], values["TOWPATH_TOKEN"])
        repository = FakeRepository("octo/boats")
        fields = {
            "full_name": repository.full_name,
            "forge": "github",
            "forge_id": repository.forge_id,
            "clone_url": repository.clone_url,
        }
        await api.call("POST", "/repositories", fields)
        await api.call(
            "POST",
            "/pipelines",
            {"name": "boats", "yaml_config": one_job(repository, 'test "$(id -u)" = 1000')},
        )
        await api.deliver_github_push(push(repository), values["TOWPATH_GITHUB_WEBHOOK_SECRET"])

        async def over() -> dict[str, object] | None:
            runs = (await api.call("GET", "/runs"))["items"]
            return runs[0] if runs and runs[0]["finished_at"] else None

        finished = await until(over, within=90, what="the end of the run")
    assert finished["status"] == "success", finished


async def test_an_image_that_jobs_could_not_clone_with_is_said_before_anything_starts(
    kubernetes: KubernetesApi, namespace: str, checkout: Path
) -> None:
    done = await asyncio.to_thread(run, checkout, "up", namespace, "nowhere-to-be-found:1")
    assert done.returncode == 1
    assert "no node of the cluster has the image nowhere-to-be-found:1" in done.stderr
    assert not (checkout / ".towpath" / "logs").exists()


def run(
    checkout: Path, command: str, namespace: str = "", image: str = TOWPATH_IMAGE
) -> subprocess.CompletedProcess[str]:
    """Run a command of `python -m devstack` in the copy, as make does."""
    told = {
        "KUBECONFIG": str(kubeconfig()),
        "TOWPATH_BACKEND": "kubernetes",
        "TOWPATH_KUBERNETES_NAMESPACE": namespace,
        "TOWPATH_KUBERNETES_TOWPATH_IMAGE": image,
        "TOWPATH_KUBERNETES_DEFAULT_IMAGE": JOB_IMAGE,
        "TOWPATH_KUBERNETES_CPU": "50m",
        "TOWPATH_KUBERNETES_MEMORY": "128Mi",
    }
    argv = [sys.executable, "-m", "devstack", command]
    return subprocess.run(
        argv,
        cwd=checkout,
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
