"""The overlays of `deploy/k8s` as kubectl renders them."""

import functools
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
KUBERNETES = ROOT / "deploy" / "k8s"
OVERLAYS = ("dev", "external", "production")
SERVICES = ("gateway", "scheduler", "executor", "logsink")
Object = dict[str, Any]


@functools.cache
def rendered(folder: str) -> str:
    """Return the YAML of a folder below `deploy/k8s`."""
    return render(KUBERNETES / folder)


def render(folder: Path) -> str:
    """Return the YAML of a folder. The test is skipped if kubectl is not installed."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed: overlays can't be rendered")
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(overlay: str, *kinds: str) -> list[Object]:
    """Return the objects of an overlay, or only those of these kinds."""
    found = [one for one in yaml.safe_load_all(rendered(f"overlays/{overlay}")) if one]
    return [one for one in found if not kinds or one["kind"] in kinds]


def name_of(one: Object) -> str:
    return f"{one['kind']}/{one['metadata']['name']}"


def pods(overlay: str) -> Iterator[tuple[str, Object]]:
    """Yield the name of each workload and the spec of its pods."""
    for one in objects(overlay, "Deployment", "StatefulSet", "DaemonSet", "Job"):
        yield name_of(one), one["spec"]["template"]["spec"]


def containers(overlay: str) -> Iterator[tuple[str, Object]]:
    for name, pod in pods(overlay):
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            yield f"{name}/{container['name']}", container
