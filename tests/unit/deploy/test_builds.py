"""Tests of the namespace of jobs: Towpath's rights, the network that jobs reach, and their resources."""

import ipaddress

import pytest
import yaml

from tests.unit.deploy.rendered import OVERLAYS, Object, objects, rendered

EXECUTOR = {
    "jobs": {"create", "get", "list", "watch", "delete"},
    "pods": {"get", "list", "watch", "patch", "delete"},
    "secrets": {"create", "get", "delete"},
    "events": {"list"},
    "pods/log": {"get"},
}
LOGSINK = {"pods": {"get", "list", "watch"}, "pods/log": {"get"}}

each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@each_overlay
def test_the_rights_are_these_and_no_others(overlay: str) -> None:
    roles = {role["metadata"]["name"]: rights(role) for role in objects(overlay, "Role", "ClusterRole")}
    assert roles == {"towpath-executor": EXECUTOR, "towpath-logsink": LOGSINK}
    assert {role["metadata"]["namespace"] for role in objects(overlay, "Role", "RoleBinding")} == {
        "towpath-builds"
    }
    assert objects(overlay, "ClusterRoleBinding") == []


@each_overlay
def test_each_role_is_held_by_its_own_service(overlay: str) -> None:
    held = {
        (b["roleRef"]["name"], s["namespace"], s["name"])
        for b in objects(overlay, "RoleBinding")
        for s in b["subjects"]
    }
    assert held == {("towpath-executor", "towpath", "executor"), ("towpath-logsink", "towpath", "logsink")}


@each_overlay
def test_both_namespaces_enforce_the_restricted_level(overlay: str) -> None:
    levels = {
        one["metadata"]["name"]: one["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for one in objects(overlay, "Namespace")
    }
    assert levels == {"towpath": "restricted", "towpath-builds": "restricted"}


@each_overlay
@pytest.mark.parametrize("namespace", ["towpath", "towpath-builds"])
def test_what_no_policy_names_is_denied(overlay: str, namespace: str) -> None:
    denials = [p["spec"] for p in policies(overlay, namespace) if p["metadata"]["name"] == "deny-all"]
    assert denials == [{"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}]


def test_nothing_reaches_a_job() -> None:
    assert [
        p["metadata"]["name"] for p in policies("external", "towpath-builds") if p["spec"].get("ingress")
    ] == []


@pytest.mark.parametrize(
    "address",
    [
        "10.97.0.1",
        "10.0.0.1",
        "172.16.5.4",
        "192.168.1.10",
        "169.254.169.254",
        "100.100.100.200",
        "127.0.0.1",
        "0.0.0.0",  # noqa: S104 - an address that must not be reached
        "fd00::1",
        "fe80::1",
        "::1",
    ],
)
def test_a_job_does_not_reach_what_is_inside(address: str) -> None:
    assert not reached_by_jobs(address)


@pytest.mark.parametrize("address", ["140.82.121.3", "1.1.1.1", "2606:50c0:8000::154"])
def test_a_job_reaches_the_internet(address: str) -> None:
    assert reached_by_jobs(address)


def test_jobs_without_the_marked_policy_reach_name_servers_alone() -> None:
    allowed = [
        p["metadata"]["name"] for p in policies("external", "towpath-builds") if p["spec"].get("egress")
    ]
    assert allowed == ["jobs-reach-the-internet", "jobs-resolve-names"]


def test_the_namespace_can_be_made_in_another_cluster_by_itself() -> None:
    kinds = {one["kind"] for one in yaml.safe_load_all(rendered("base/builds"))}
    assert kinds == {"Namespace", "Role", "RoleBinding", "ResourceQuota", "LimitRange", "NetworkPolicy"}


def rights(role: Object) -> dict[str, set[str]]:
    return {resource: set(rule["verbs"]) for rule in role["rules"] for resource in rule["resources"]}


def policies(overlay: str, namespace: str) -> list[Object]:
    return [p for p in objects(overlay, "NetworkPolicy") if p["metadata"]["namespace"] == namespace]


def reached_by_jobs(text: str) -> bool:
    address = ipaddress.ip_address(text)
    peers = [
        peer
        for p in policies("external", "towpath-builds")
        for rule in p["spec"].get("egress", [])
        for peer in rule["to"]
    ]
    for block in (peer["ipBlock"] for peer in peers if "ipBlock" in peer):
        if address in ipaddress.ip_network(block["cidr"]) and not any(
            address in ipaddress.ip_network(cidr) for cidr in block["except"]
        ):
            return True
    return False
