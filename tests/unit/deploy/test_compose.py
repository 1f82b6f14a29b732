"""`docker compose up`: everything it names is there, pinned, on loopback alone, and begins in order."""

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from devstack.docker import DockerPostgres, DockerRabbit
from shared import VERSION
from tests.unit.deploy.rendered import ROOT, SERVICES, containers

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]


def compose() -> list[str]:
    """The command of the newer or the older kind; the test is skipped where there is neither."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) and subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0:
            return command
    pytest.skip("neither `docker compose` nor docker-compose is installed")


def test_compose_takes_the_file() -> None:
    done = subprocess.run([*compose(), "config", "--quiet"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_service_of_towpath_is_there_from_this_release() -> None:
    assert {name: COMPOSE[name]["image"] for name in SERVICES} == dict.fromkeys(SERVICES, f"towpath:{VERSION}")
    assert COMPOSE["gateway"]["build"]["args"]["VERSION"] == VERSION
    assert COMPOSE["executor"]["environment"]["TOWPATH_KUBERNETES_TOWPATH_IMAGE"] == f"towpath:{VERSION}"


def test_every_image_is_pinned() -> None:
    assert [name for name, service in COMPOSE.items() if not re.search(r":v?\d+\.\d+", service["image"])] == []


def test_the_servers_are_those_of_the_overlay_for_trying() -> None:
    images = {container["image"] for _, container in containers("dev")}
    assert {COMPOSE["postgres"]["image"], COMPOSE["rabbitmq"]["image"]} <= images
    assert (COMPOSE["postgres"]["image"], COMPOSE["rabbitmq"]["image"]) == (DockerPostgres.image, DockerRabbit.image)


def test_only_the_gateway_listens_and_on_loopback_alone() -> None:
    ports = {name: service["ports"] for name, service in COMPOSE.items() if "ports" in service}
    assert ports == {"gateway": ["127.0.0.1:${TOWPATH_PORT:-8420}:8080"]}


def test_what_runs_on_has_a_health_check() -> None:
    lasting = {name: service for name, service in COMPOSE.items() if service.get("restart") != "no"}
    assert lasting.keys() == {*SERVICES, "postgres", "rabbitmq", "k3s"}
    assert [name for name, service in lasting.items() if "test" not in service["healthcheck"]] == []


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_begins_after_what_it_stands_on(service: str) -> None:
    before = ancestors(service)
    assert {"postgres", "rabbitmq", "key", "migrate"} <= before
    assert ({"k3s", "cluster"} <= before) is (service in {"executor", "logsink"})


def test_whoever_waits_for_a_service_waits_for_its_health_and_for_a_program_for_its_end() -> None:
    for name, service in COMPOSE.items():
        for other, how in dependencies(service).items():
            ends = COMPOSE[other].get("restart") == "no"
            assert how["condition"] == ("service_completed_successfully" if ends else "service_healthy"), f"{name} -> {other}"


def dependencies(service: dict[str, Any]) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = service.get("depends_on", {})
    return found


def ancestors(name: str) -> set[str]:
    direct = set(dependencies(COMPOSE[name]))
    return direct.union(*(ancestors(other) for other in direct))
