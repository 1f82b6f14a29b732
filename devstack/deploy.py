"""`make deploy`: applies an overlay of deploy/k8s to kubectl's current cluster, and waits for it.

An overlay with unfilled placeholders is not applied. The migration job of an earlier release, which has
ended, is deleted first to make room for this release's job.
"""

import base64
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml

from devstack.errors import DevstackError
from devstack.settings import DevstackSettings
from devstack.stack import CHECKOUT, SERVICES
from shared.settings import PLACEHOLDER

NAMESPACE = "towpath"
READY_SECONDS = 600
"""Includes the time to pull images and to set up a database."""
_OVERLAYS = CHECKOUT / "deploy" / "k8s" / "overlays"


def deploy(settings: DevstackSettings, say: Callable[[str], None]) -> None:
    """Deploy the overlay, and return when every service is ready.

    Safe to repeat. Raises DevstackError with what is missing, or with kubectl's error.
    """
    folder = overlay_folder(settings.overlay)
    if shutil.which("kubectl") is None:
        raise DevstackError("kubectl is not installed")
    manifests = _kubectl("kustomize", str(folder))
    unfilled = placeholders(manifests)
    if unfilled:
        raise DevstackError(f"{folder} still has the placeholder {PLACEHOLDER} in: {', '.join(unfilled)}")
    say(f"applying {folder} to the cluster of the context {_kubectl('config', 'current-context').strip()}")
    _kubectl(
        "delete",
        "job/towpath-migrate",
        "--namespace",
        NAMESPACE,
        "--ignore-not-found",
        "--cascade=foreground",
    )
    say(_kubectl("apply", "--filename", "-", stdin=manifests).rstrip())
    say("waiting for the migration")
    timeout = f"--timeout={READY_SECONDS}s"
    _kubectl("wait", "--namespace", NAMESPACE, "--for=condition=complete", timeout, "job/towpath-migrate")
    for service in SERVICES:
        _kubectl("rollout", "status", "--namespace", NAMESPACE, f"deployment/{service}", timeout)
        say(f"{service}: ready")
    say(
        f"\n  kubectl -n {NAMESPACE} logs job/towpath-migrate -c bootstrap     # the administrator's "
        "token, where this was the first time"
    )
    say(
        f"  kubectl -n {NAMESPACE} port-forward service/gateway 8420:80      # the gateway at "
        "http://127.0.0.1:8420"
    )


def overlay_folder(name: str) -> Path:
    """Return the folder of an overlay, given by its name or its path."""
    for folder in (_OVERLAYS / name, Path(name)):
        if (folder / "kustomization.yaml").is_file():
            return folder.resolve()
    ours = ", ".join(sorted(path.name for path in _OVERLAYS.iterdir() if path.is_dir()))
    raise DevstackError(
        f"there is no overlay {name!r}: OVERLAY takes {ours}, or a folder with a kustomization.yaml"
    )


def placeholders(manifests: str) -> list[str]:
    """Return `<Secret>.<key>` of each value that still has its placeholder."""
    secrets = [one for one in yaml.safe_load_all(manifests) if one and one["kind"] == "Secret"]
    values = {
        f"{secret['metadata']['name']}.{key}": base64.b64decode(text)
        for secret in secrets
        for key, text in (secret.get("data") or {}).items()
    }
    return [name for name, value in values.items() if PLACEHOLDER.encode() in value]


def _kubectl(*arguments: str, stdin: str | None = None) -> str:
    done = subprocess.run(["kubectl", *arguments], input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DevstackError(f"kubectl {' '.join(arguments[:2])}: {done.stderr.strip()}")
    return done.stdout
