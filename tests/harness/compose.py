"""Towpath as `docker compose up` starts it, in a compose project for one test."""

import json
import os
import re
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from devstack.docker import docker_works

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
REPOSITORIES = "/repositories"
"""The path in the executor's container at which the folder of the test's repositories is mounted."""
UP_SECONDS = 300


def compose_program() -> tuple[str, ...] | None:
    """Return `docker compose` or `docker-compose`, or None if neither is installed."""
    for command in (("docker", "compose"), ("docker-compose",)):
        if (
            shutil.which(command[0])
            and subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0
        ):
            return command
    return None


def why_not() -> str:
    """Return the reason why the compose file can't be run here, or an empty text if it can."""
    if compose_program() is None:
        return "neither `docker compose` nor docker-compose is installed"
    if not docker_works():
        return "no Docker engine answers"
    images = sorted({service["image"] for service in yaml.safe_load(FILE.read_text())["services"].values()})
    missing = [
        image
        for image in images
        if subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode
        != 0
    ]
    return (
        f"the Docker engine has no image {', '.join(missing)}: `make images`, `docker pull`"
        if missing
        else ""
    )


@dataclass(frozen=True)
class Composed:
    """A compose project that tests use like a stack of processes.

    Its address is the gateway's published port.
    """

    project: str
    override: Path
    environment: Mapping[str, str]

    def address(self) -> str:
        return f"http://{self.run('port', 'gateway', '8080').strip()}"

    def run(self, *arguments: str, seconds: float = UP_SECONDS) -> str:
        """Run compose and return its output. Raises AssertionError with its error messages if it fails."""
        program = compose_program()
        assert program is not None
        argv = [
            *program,
            "--project-name",
            self.project,
            "--file",
            str(FILE),
            "--file",
            str(self.override),
            *arguments,
        ]
        done = subprocess.run(
            argv,
            cwd=ROOT,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout[-4000:]}{done.stderr[-4000:]}"
        return done.stdout

    def token(self) -> str:
        """Return the first administrator's token. The log of `migrate` has it after the first start."""
        found = re.search(r"TOWPATH_TOKEN=(\S+)", self.run("logs", "--no-color", "migrate"))
        assert found, "the log of `migrate` has no token"
        return found[1]

    def states(self) -> dict[str, str]:
        """Return the state of each service's container: `healthy`, `starting`, `exited 0` and so on."""
        containers = docker(
            "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={self.project}"
        ).split()
        inspected: list[dict[str, Any]] = json.loads(docker("inspect", *containers)) if containers else []
        return {
            one["Config"]["Labels"]["com.docker.compose.service"]: _state(one["State"]) for one in inspected
        }


def _state(state: dict[str, Any]) -> str:
    if state["Running"]:
        return str(state.get("Health", {}).get("Status", "running"))
    return f"exited {state['ExitCode']}"


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def composed(folder: Path, environment: Mapping[str, str]) -> Iterator[Composed]:
    """Yield a project that is not started yet.

    Its containers, network and volumes are deleted after the block. Jobs clone from `folder`, which is
    mounted in the executor's container at REPOSITORIES.
    """
    folder.mkdir(mode=0o755)
    override = folder.with_suffix(".yml")
    local = {"environment": {"TOWPATH_ALLOW_LOCAL_CLONE_URLS": "true"}}
    mounted = {**local, "volumes": [f"{folder}:{REPOSITORIES}:ro"]}
    override.write_text(yaml.safe_dump({"services": {"gateway": local, "executor": mounted}}))
    ours = Composed(f"towpath-test-{secrets.token_hex(4)}", override, {"TOWPATH_PORT": "0", **environment})
    try:
        yield ours
    finally:
        ours.run("down", "--volumes", "--remove-orphans")
