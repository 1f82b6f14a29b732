"""Tests of the compose files.

Everything that they name exists and is pinned. Services listen on loopback only, start in the right order,
and have no right that they do not need. The base file runs jobs in the executor's container;
`docker-compose.kubernetes.yml` adds a cluster. `tests/e2e/test_compose.py` starts the base file.
"""

import re
import subprocess
from typing import Any

import pytest
import yaml

from devstack.docker import DockerPostgres, DockerRabbit
from services.executor.settings import ExecutorSettings
from shared import VERSION
from tests.harness.compose import compose_program
from tests.unit.deploy.rendered import ROOT, SERVICES, containers

BASE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
ADDED = yaml.safe_load((ROOT / "docker-compose.kubernetes.yml").read_text())["services"]
BOTH = {**BASE, **{name: service for name, service in ADDED.items() if name not in BASE}}
OURS = (*SERVICES, "key", "migrate")
FILES = {
    "base": ["docker-compose.yml"],
    "kubernetes": ["docker-compose.yml", "docker-compose.kubernetes.yml"],
}


def composed(*files: str) -> dict[str, Any]:
    """Return the services as compose merges these files. The test is skipped if compose is not installed."""
    program = compose_program()
    if program is None:
        pytest.skip("neither `docker compose` nor docker-compose is installed")
    argv = [*program, *(word for file in files for word in ("--file", file)), "config"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    services: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    return services


def test_compose_takes_the_base_file_which_has_no_cluster() -> None:
    assert composed(*FILES["base"]).keys() == {*OURS, "postgres", "rabbitmq"}


def test_compose_adds_a_cluster_in_which_all_services_then_run_their_jobs() -> None:
    services = composed(*FILES["kubernetes"])
    assert services.keys() == {*OURS, "postgres", "rabbitmq", "k3s", "cluster"}
    assert {services[name]["environment"]["TOWPATH_CLUSTER"] for name in SERVICES} == {"k3s"}
    assert services["executor"]["environment"]["TOWPATH_BACKEND"] == "kubernetes"
    assert services["executor"]["user"] == "10001:10001"
    assert services["executor"]["depends_on"].keys() == {"cluster", "migrate", "rabbitmq"}


def test_every_service_of_towpath_is_there_from_this_release() -> None:
    assert {name: BASE[name]["image"] for name in OURS} == dict.fromkeys(OURS, f"towpath:{VERSION}")
    assert BASE["gateway"]["build"]["args"]["VERSION"] == VERSION
    assert ADDED["executor"]["environment"]["TOWPATH_KUBERNETES_TOWPATH_IMAGE"] == f"towpath:{VERSION}"


def test_no_service_keeps_a_right_that_it_does_not_need() -> None:
    assert [
        name
        for name in OURS
        if BASE[name]["cap_drop"] != ["ALL"] or BASE[name]["security_opt"] != ["no-new-privileges:true"]
    ] == []
    assert [name for name in OURS if not BASE[name]["read_only"]] == []
    assert {
        name: service["cap_add"]
        for name, service in BASE.items()
        if "cap_add" in service and name != "executor"
    } == {"key": ["CHOWN"]}
    assert {name for name in OURS if BASE[name].get("user") == "0:0"} == {"executor", "logsink", "key"}
    assert [name for name, service in BOTH.items() if service.get("privileged")] == ["k3s"]


def test_keys_and_pods_are_mounted_where_they_are_needed() -> None:
    mounts = {name: BASE[name].get("volumes", []) for name in OURS}
    assert {name: found for name, found in mounts.items() if found} == {
        "gateway": ["keys:/etc/towpath:ro"],
        "executor": ["keys:/etc/towpath:ro", f"pods:{ExecutorSettings.model_fields['local_dir'].default}"],
        "logsink": ["keys:/etc/towpath:ro", f"pods:{ExecutorSettings.model_fields['local_dir'].default}:ro"],
        "key": ["keys:/etc/towpath"],
    }
    assert {name for name in SERVICES if "TOWPATH_ENCRYPTION_KEY_FILE" in BASE[name]["environment"]} == {
        "gateway",
        "executor",
        "logsink",
    }


def test_passwords_can_be_chosen_and_a_server_has_those_of_its_clients() -> None:
    environment = BASE["gateway"]["environment"]
    assert (
        f":{BASE['postgres']['environment']['POSTGRES_PASSWORD']}@postgres"
        in environment["TOWPATH_DATABASE_URL"]
    )
    assert (
        f":{BASE['rabbitmq']['environment']['RABBITMQ_DEFAULT_PASS']}@rabbitmq"
        in environment["TOWPATH_AMQP_URL"]
    )
    assert BASE["postgres"]["environment"]["POSTGRES_PASSWORD"].startswith("${TOWPATH_")


def test_every_image_is_pinned() -> None:
    assert [name for name, service in BOTH.items() if not re.search(r":v?\d+\.\d+", service["image"])] == []


def test_the_servers_are_those_of_the_overlay_for_trying() -> None:
    images = {container["image"] for _, container in containers("dev")}
    assert {BASE["postgres"]["image"], BASE["rabbitmq"]["image"]} <= images
    assert (BASE["postgres"]["image"], BASE["rabbitmq"]["image"]) == (
        DockerPostgres.image,
        DockerRabbit.image,
    )


def test_only_the_gateway_listens_and_on_loopback_alone() -> None:
    ports = {name: service["ports"] for name, service in BOTH.items() if "ports" in service}
    assert ports == {"gateway": ["127.0.0.1:${TOWPATH_PORT:-8420}:8080"]}


def test_what_runs_on_has_a_health_check() -> None:
    lasting = {name: service for name, service in BOTH.items() if service.get("restart") != "no"}
    assert lasting.keys() == {*SERVICES, "postgres", "rabbitmq", "k3s"}
    assert [name for name, service in lasting.items() if "test" not in service["healthcheck"]] == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_begins_after_what_it_stands_on(service: str) -> None:
    assert ancestors(service, BASE) == {"postgres", "rabbitmq", "key", "migrate"}
    direct = dependencies(ADDED[service]).keys()
    assert (direct == {"cluster"}) is (service in {"executor", "logsink"})
    assert ancestors("cluster", ADDED) == {"k3s"}


def test_services_are_waited_for_until_they_are_healthy_and_programs_until_they_have_ended() -> None:
    for name, service in (*BASE.items(), *ADDED.items()):
        for other, how in dependencies(service).items():
            ends = BOTH[other].get("restart") == "no"
            assert how["condition"] == ("service_completed_successfully" if ends else "service_healthy"), (
                f"{name} -> {other}"
            )


def dependencies(service: dict[str, Any]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = service.get("depends_on", {})
    return found


def ancestors(name: str, services: dict[str, Any]) -> set[str]:
    direct = set(dependencies(services[name]))
    return direct.union(*(ancestors(other, services) for other in direct))
