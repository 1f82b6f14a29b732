"""Tests of manifests.

They equal the golden files, are valid and restricted, and contain text of users only in its proper places.
"""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import kubernetes_validate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.executor.backend import AttemptSpec, Clone, Refused
from services.executor.clone_order import Order
from services.executor.kubernetes.manifest import SECRET_LIMIT_BYTES, Objects, objects_of, owned_by
from shared.pipeline.model import Job, Ready, Service, Step
from tests.unit.services.executor.kubernetes.orders import (
    CLONE,
    JOB_UID,
    ORDERS,
    PLAIN,
    SETTINGS,
    golden,
    shown,
)

VERSION = "1.36"


def with_job(order: AttemptSpec = PLAIN, **changes: Any) -> AttemptSpec:
    return replace(order, job=order.job.model_copy(update=changes))


def pod_of(objects: Objects) -> dict[str, Any]:
    pod: dict[str, Any] = objects.job["spec"]["template"]["spec"]
    return pod


def containers_of(objects: Objects) -> dict[str, dict[str, Any]]:
    pod = pod_of(objects)
    return {container["name"]: container for container in (*pod["initContainers"], *pod["containers"])}


def data_of(objects: Objects) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in objects.secret["data"].items()}


@pytest.mark.parametrize("name", ORDERS)
def test_manifests_are_as_the_golden_files_show_them(name: str) -> None:
    assert shown(objects_of(ORDERS[name], SETTINGS)) == json.loads(golden(name).read_text())


@pytest.mark.parametrize("name", ORDERS)
def test_manifests_are_valid(name: str) -> None:
    objects = objects_of(ORDERS[name], SETTINGS)
    for made in (objects.job, objects.secret, owned_by(objects.secret, "tp-abcdefgh-7", JOB_UID)):
        kubernetes_validate.validate(made, VERSION, strict=True)


@pytest.mark.parametrize("name", ["plain", "cloned", "services"])
def test_every_container_is_restricted_and_bounded(name: str) -> None:
    objects = objects_of(ORDERS[name], SETTINGS)
    for container in containers_of(objects).values():
        security = container["securityContext"]
        assert security["runAsUser"] == 1000
        assert security["runAsNonRoot"]
        assert not security["allowPrivilegeEscalation"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for kind in ("requests", "limits"):
            assert container["resources"][kind].keys() == {"cpu", "memory", "ephemeral-storage"}
    assert pod_of(objects)["automountServiceAccountToken"] is False


def test_only_the_clone_sees_its_credentials() -> None:
    objects = objects_of(ORDERS["everything"], SETTINGS)
    volumes = {
        volume["name"]: [item["key"] for item in volume["secret"]["items"]]
        for volume in pod_of(objects)["volumes"]
        if "secret" in volume
    }
    seen = {
        name: [key for mount in container.get("volumeMounts", ()) for key in volumes.get(mount["name"], ())]
        for name, container in containers_of(objects).items()
    }
    assert seen == {"clone": ["clone"], "service-postgres": [], "service-cache": [], "job": ["driver"]}
    assert CLONE.token is not None
    assert CLONE.token.encode() not in data_of(objects)["driver"]
    assert CLONE.token not in json.dumps(objects.job)


def test_the_clones_order_is_read_as_it_was_written() -> None:
    order = Order.decode(data_of(objects_of(ORDERS["cloned"], SETTINGS))["clone"])
    assert (order.commit.url, order.commit.sha, order.commit.token, order.commit.protocols) == (
        CLONE.url,
        CLONE.sha,
        CLONE.token,
        "https",
    )
    assert "t0ps3cret" not in repr(order)


def test_a_services_variables_arrive_as_they_were_written() -> None:
    """Kubelets replace $(X), and turn two dollar signs into one."""
    [variable] = containers_of(objects_of(ORDERS["services"], SETTINGS))["service-postgres"]["env"]
    assert variable["value"].replace("$$", "$") == "pa$$word$(X)"
    assert "$$(X)" in variable["value"]


def test_a_pods_deadline_is_behind_every_other() -> None:
    order = with_job(timeout_seconds=100)
    made = objects_of(order, replace(SETTINGS, image_pull_seconds=10.5, start_seconds=20, grace_seconds=2.5))
    assert pod_of(made)["activeDeadlineSeconds"] == 137
    assert pod_of(made)["terminationGracePeriodSeconds"] == 3
    assert "activeDeadlineSeconds" not in made.job["spec"]
    assert "ttlSecondsAfterFinished" not in made.job["spec"]


def test_rule_8_a_jobs_own_time_after_a_stop_reaches_the_kubelet_and_the_driver() -> None:
    usual = objects_of(PLAIN, SETTINGS)
    made = objects_of(with_job(stop_grace_seconds=300), SETTINGS)
    assert pod_of(made)["terminationGracePeriodSeconds"] == 300
    longer = pod_of(made)["activeDeadlineSeconds"] - pod_of(usual)["activeDeadlineSeconds"]
    assert longer == 2 * (300 - pod_of(usual)["terminationGracePeriodSeconds"])
    assert b"\ntowpath_grace=300\n" in data_of(made)["driver"]


def test_rule_3_only_a_job_with_outputs_has_the_container_that_prints_them() -> None:
    assert "outputs" not in containers_of(objects_of(ORDERS["everything"], SETTINGS))
    order = replace(ORDERS["services"], job=ORDERS["services"].job.model_copy(update={"outputs": {"x": "1"}}))
    *_, last = pod_of(objects_of(order, SETTINGS))["initContainers"]
    assert (last["name"], last["restartPolicy"], last["image"]) == (
        "outputs",
        "Always",
        SETTINGS.towpath_image,
    )
    assert [(mount["name"], mount["readOnly"]) for mount in last["volumeMounts"]] == [("towpath", True)]


@pytest.mark.parametrize(("policy", "trusted"), [("never", True), ("never", False), ("trusted", False)])
def test_root_is_refused_to_those_whom_the_policy_does_not_name(policy: Any, trusted: bool) -> None:
    with pytest.raises(Refused, match="user: root"):
        objects_of(replace(with_job(user="root"), trusted=trusted), replace(SETTINGS, allow_root=policy))


def test_a_job_that_may_be_root_is() -> None:
    assert (
        containers_of(objects_of(with_job(user="root"), SETTINGS))["job"]["securityContext"]["runAsUser"] == 0
    )


def test_a_node_selector_that_is_not_allowed_is_refused() -> None:
    with pytest.raises(Refused, match=r"'disk'.*kubernetes.io/arch"):
        objects_of(with_job(node_selector={"disk": "ssd"}), SETTINGS)


def test_more_text_than_fits_is_refused() -> None:
    with pytest.raises(Refused, match="900 KiB"):
        objects_of(replace(PLAIN, environment={"A": "x" * SECRET_LIMIT_BYTES}), SETTINGS)


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_text_that_no_process_can_take_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="no process can take"):
        objects_of(replace(PLAIN, environment={"A": text}), SETTINGS)


# ---------------------------------------------------------------- hostile text

MARK = "hOsTiLe"
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40).map(
    lambda text: f"{text}{MARK}{text}\n- name: {text}"
)
NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,9}", fullmatch=True)
SERVICE_NAMES = st.from_regex(r"[a-z](?:[a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)
SERVED = st.builds(
    Service,
    image=TEXTS,
    env=st.dictionaries(NAMES, TEXTS, max_size=2),
    ready=st.none() | st.just(Ready(tcp=80)),
)
JOBS = st.builds(
    Job,
    name=TEXTS,
    image=st.none() | TEXTS,
    steps=st.lists(
        st.builds(Step, run=TEXTS, name=st.none() | TEXTS, env=st.dictionaries(NAMES, TEXTS, max_size=2)),
        min_size=1,
        max_size=3,
    ).map(tuple),
    services=st.dictionaries(SERVICE_NAMES, SERVED, max_size=2),
    node_selector=st.dictionaries(st.just("kubernetes.io/arch"), TEXTS, max_size=1),
    user=st.none(),
)
CLONES = st.none() | st.builds(
    Clone, url=TEXTS, sha=TEXTS, ref=TEXTS, merge_sha=st.none() | TEXTS, depth=st.just(1), token=TEXTS
)
HOSTILE = st.builds(
    replace, st.just(PLAIN), job=JOBS, environment=st.dictionaries(NAMES, TEXTS, max_size=3), clone=CLONES
)


def places(value: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of the values that contain the mark, without list indices."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from places(key, f"{path}.KEY")
            yield from places(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from places(inner, path)
    elif MARK in str(value):
        yield path


@settings(deadline=None)
@given(HOSTILE)
def test_text_of_users_stays_where_it_belongs(order: AttemptSpec) -> None:
    objects = objects_of(order, SETTINGS)
    pod = ".spec.template.spec"
    assert set(places(objects.job)) <= {
        f"{pod}.containers.image",
        f"{pod}.initContainers.image",
        f"{pod}.initContainers.env.value",
        f"{pod}.nodeSelector.kubernetes.io/arch",
    }
    assert not set(places(objects.secret))
    kubernetes_validate.validate(objects.job, VERSION, strict=True)
    assert containers_of(objects).keys() == {
        *(["clone"] if order.clone else []),
        *(f"service-{name}" for name in order.job.services),
        "job",
    }


@settings(deadline=None)
@given(HOSTILE)
def test_the_same_order_gives_the_same_objects(order: AttemptSpec) -> None:
    assert objects_of(order, SETTINGS) == objects_of(order, SETTINGS)
