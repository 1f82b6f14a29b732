"""Tests of the overlays.

Each overlay renders to objects that Kubernetes accepts. Pods meet the restricted level, and secrets are
unusable until they are filled in.
"""

import base64
import re
from pathlib import Path

import kubernetes_validate
import pytest

from shared import VERSION
from shared.crypto import Keyring, KeyringInvalid
from shared.settings import PLACEHOLDER
from tests.unit.deploy.rendered import OVERLAYS, SERVICES, Object, containers, name_of, objects, pods

KUBERNETES_VERSION = "1.36"
OPERATORS_KINDS = {"ServiceMonitor", "PrometheusRule"}
"""Kinds of the Prometheus operator. The schemas of Kubernetes do not contain them."""

each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@each_overlay
def test_kubernetes_knows_every_field(overlay: str) -> None:
    for one in objects(overlay):
        if one["kind"] not in OPERATORS_KINDS:
            kubernetes_validate.validate(one, KUBERNETES_VERSION, strict=True)


@each_overlay
def test_every_object_says_what_it_belongs_to(overlay: str) -> None:
    assert [
        name_of(one)
        for one in objects(overlay)
        if one["metadata"].get("labels", {}).get("app.kubernetes.io/part-of") != "towpath"
    ] == []


@each_overlay
def test_every_service_has_a_deployment_an_account_a_service_and_a_disruption_budget(overlay: str) -> None:
    names = {name_of(one) for one in objects(overlay)}
    assert {
        f"{kind}/{service}"
        for service in SERVICES
        for kind in ("Deployment", "ServiceAccount", "Service", "PodDisruptionBudget")
    } <= names


@each_overlay
def test_every_pod_meets_the_restricted_level(overlay: str) -> None:
    """See https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted."""
    for name, pod in pods(overlay):
        context = pod["securityContext"]
        assert (context["runAsNonRoot"], context["seccompProfile"]) == (True, {"type": "RuntimeDefault"}), (
            name
        )
        assert {next(iter(set(volume) - {"name"})) for volume in pod.get("volumes", [])} <= {
            "secret",
            "emptyDir",
            "configMap",
        }, name
    for name, container in containers(overlay):
        context = container["securityContext"]
        assert (context["allowPrivilegeEscalation"], context["capabilities"]) == (False, {"drop": ["ALL"]}), (
            name
        )


@each_overlay
def test_our_containers_write_nothing_but_tmp_and_are_bounded(overlay: str) -> None:
    ours = {
        name: container for name, container in containers(overlay) if container["image"].startswith("towpath")
    }
    assert len(ours) == 6
    for name, container in ours.items():
        assert container["securityContext"]["readOnlyRootFilesystem"], name
        assert [
            mount["name"] for mount in container.get("volumeMounts", []) if not mount.get("readOnly")
        ] in (["tmp"], []), name
        assert (
            {"memory", "ephemeral-storage"}
            <= container["resources"]["limits"].keys()
            <= container["resources"]["requests"].keys()
        ), name


@each_overlay
def test_only_those_that_talk_to_the_cluster_get_a_token(overlay: str) -> None:
    assert {name for name, pod in pods(overlay) if pod["automountServiceAccountToken"]} == {
        "Deployment/executor",
        "Deployment/logsink",
    }


@each_overlay
def test_every_service_is_probed(overlay: str) -> None:
    for deployment in objects(overlay, "Deployment"):
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        paths = [
            container[probe]["httpGet"]["path"]
            for probe in ("startupProbe", "readinessProbe", "livenessProbe")
        ]
        assert paths == ["/healthz", "/readyz", "/healthz"], deployment["metadata"]["name"]


@each_overlay
def test_every_image_is_pinned_and_ours_is_this_release(overlay: str) -> None:
    images = {container["image"] for _, container in containers(overlay)}
    assert all(re.search(r":v?\d+\.\d+", image) for image in images), images
    assert {image for image in images if "towpath" in image} == {f"towpath:{VERSION}"}


@each_overlay
def test_a_jobs_clone_runs_the_image_of_the_services(overlay: str) -> None:
    executor = next(
        container for name, container in containers(overlay) if name == "Deployment/executor/executor"
    )
    assert {"name": "TOWPATH_KUBERNETES_TOWPATH_IMAGE", "value": executor["image"]} in executor["env"]


@each_overlay
def test_the_gateway_alone_gets_the_secrets_of_webhooks(overlay: str) -> None:
    secret = next(
        one["metadata"]["name"]
        for one in objects(overlay, "Secret")
        if one["metadata"]["name"].startswith("towpath-webhooks")
    )
    users = {
        name
        for name, container in containers(overlay)
        for source in container.get("envFrom", [])
        if source.get("secretRef", {}).get("name") == secret
    }
    assert users == {"Deployment/gateway/gateway"}


@each_overlay
def test_the_scheduler_gets_no_key(overlay: str) -> None:
    users = {name for name, pod in pods(overlay) for volume in pod.get("volumes", []) if "secret" in volume}
    assert users == {"Deployment/gateway", "Deployment/executor", "Deployment/logsink"}


@pytest.mark.parametrize("overlay", ["external", "production"])
def test_no_secret_can_be_used_before_it_is_filled_in(overlay: str, tmp_path: Path) -> None:
    """The services refuse the placeholder, which tests/unit/shared/test_settings.py tests."""
    values = {
        f"{one['metadata']['name'][:-11]}.{key}": text
        for one in objects(overlay, "Secret")
        for key, text in contents(one).items()
    }
    assert {name for name, text in values.items() if text and PLACEHOLDER not in text} == set()
    with pytest.raises(KeyringInvalid):
        keyring(values["towpath-encryption.keys"], tmp_path)


def test_the_overlay_for_trying_starts_as_it_is(tmp_path: Path) -> None:
    values = {key: text for one in objects("dev", "Secret") for key, text in contents(one).items()}
    assert not any(PLACEHOLDER in text for text in values.values())
    assert keyring(values["keys"], tmp_path)


def contents(secret: Object) -> dict[str, str]:
    return {key: base64.b64decode(text).decode() for key, text in secret["data"].items()}


def keyring(text: str, folder: Path) -> Keyring:
    (folder / "keys").write_text(text)
    return Keyring.from_file(folder / "keys")
