"""A real API server accepts every overlay in a dry run.

The dry run includes the server's defaults, validation and admission, and stores nothing.
"""

import pytest
import yaml

from shared.kubernetes.client import KubernetesApi
from tests.harness.kubectl import kubectl
from tests.unit.deploy.rendered import OVERLAYS, Object, name_of, objects
from tests.unit.deploy.test_overlays import OPERATORS_KINDS

pytestmark = pytest.mark.kubernetes


@pytest.mark.parametrize("overlay", OVERLAYS)
async def test_a_cluster_takes_every_object(
    overlay: str, kubernetes: KubernetesApi, build_namespace: str
) -> None:
    """Objects whose kinds the Prometheus operator defines are left out."""
    wanted = [_within(one, build_namespace) for one in objects(overlay) if one["kind"] not in OPERATORS_KINDS]
    told = await kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "-f",
        "-",
        stdin=yaml.safe_dump_all(wanted),
    )
    assert len(told.splitlines()) == len(wanted)
    assert all(line.endswith("serverside-applied (server dry run)") for line in told.splitlines()), told
    kept = await kubernetes.get(f"/apis/apps/v1/namespaces/{build_namespace}/deployments")
    assert [name_of(one) for one in kept["items"]] == []


def _within(one: Object, namespace: str) -> Object:
    """Return the object in an existing namespace, because a dry run creates none."""
    metadata = one["metadata"]
    return one | {"metadata": metadata | {"namespace": namespace}} if "namespace" in metadata else one
