"""Tests of the component `node-agent`: one pod on each node that may only read the kubelet's logs."""

import shutil
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.harness.deployment import with_node_agent
from tests.unit.deploy.rendered import KUBERNETES, Object, name_of, render
from tests.unit.deploy.test_builds import rights
from tests.unit.deploy.test_overlays import KUBERNETES_VERSION


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Object]:
    """Return the objects of the overlay `external` with the component, by kind and name."""
    copy = tmp_path_factory.mktemp("agent") / "k8s"
    shutil.copytree(KUBERNETES, copy)
    return {
        name_of(one): one
        for one in yaml.safe_load_all(render(with_node_agent(copy / "overlays" / "external")))
    }


def test_kubernetes_knows_every_field(deployment: dict[str, Object]) -> None:
    for one in deployment.values():
        kubernetes_validate.validate(one, KUBERNETES_VERSION, strict=True)


def test_its_pod_only_reads_what_belongs_to_root(deployment: dict[str, Object]) -> None:
    pod = deployment["DaemonSet/agent"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert [volume["hostPath"]["path"] for volume in pod["volumes"] if "hostPath" in volume] == [
        "/var/log/pods"
    ]
    assert [mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")] == ["tmp"]
    context = container["securityContext"]
    assert (context["capabilities"], context["privileged"], context["allowPrivilegeEscalation"]) == (
        {"drop": ["ALL"]},
        False,
        False,
    )
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()


def test_it_may_look_at_pods_and_no_more(deployment: dict[str, Object]) -> None:
    assert rights(deployment["Role/towpath-agent"]) == {"pods": {"get", "list", "watch"}}


def test_the_namespace_lets_it_mount_and_the_one_of_jobs_stays_as_it_was(
    deployment: dict[str, Object],
) -> None:
    levels = {
        name: deployment[f"Namespace/{name}"]["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for name in ("towpath", "towpath-builds")
    }
    assert levels == {"towpath": "privileged", "towpath-builds": "restricted"}


def test_attempts_are_told_that_it_reads_their_logs(deployment: dict[str, Object]) -> None:
    settings = next(
        one["data"] for name, one in deployment.items() if name.startswith("ConfigMap/towpath-settings")
    )
    assert settings["TOWPATH_KUBERNETES_LOGS"] == "agent"
    assert Path(
        deployment["DaemonSet/agent"]["spec"]["template"]["spec"]["containers"][0]["image"]
    ).name.startswith("towpath:")
