"""Orders for the tests of manifests, each with the golden file that shows its objects.

`python -m tests.unit.services.executor.kubernetes.orders` writes the golden files again.
"""

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from services.executor.backend import AttemptSpec, Clone
from services.executor.kubernetes.manifest import Objects, objects_of, owned_by
from shared.pipeline.model import Job, Ready, Resources, Service, Step
from tests.harness.pods import pod_settings

GOLDEN = Path(__file__).parent / "golden"
JOB_UID = "11111111-2222-4333-8444-555555555555"
SETTINGS = pod_settings(allow_root="trusted", node_selector_keys=frozenset({"kubernetes.io/arch"}))

PLAIN = AttemptSpec(
    name="tp-abcdefgh-7",
    attempt_id=7,
    job_id=5,
    run_id=3,
    creation_token="00112233445566778899aabbccddeeff",
    job=Job(name="test", steps=(Step(run="make test"),), timeout_seconds=1200, checkout=None),
    environment={"CI": "true", "TOWPATH_SHA": "a" * 40},
    clone=None,
    trusted=True,
    run_seconds_left=3600,
)
CLONE = Clone(
    url="https://forge.example/octo/web.git",
    sha="a" * 40,
    ref="refs/heads/main",
    merge_sha=None,
    depth=1,
    token="t0ps3cret",
)
SERVICES = {
    "postgres": Service(
        image="postgres:17",
        env={"POSTGRES_PASSWORD": "pa$$word$(X)"},
        ready=Ready(tcp=5432, within_seconds=90),
    ),
    "cache": Service(image="valkey:8"),
}

ORDERS = {
    "plain": PLAIN,
    "cloned": replace(PLAIN, clone=CLONE),
    "services": replace(PLAIN, clone=CLONE, job=PLAIN.job.model_copy(update={"services": SERVICES})),
    "outputs": replace(
        PLAIN,
        job=PLAIN.job.model_copy(
            update={
                "steps": (Step(id="push", run="./push.sh"),),
                "outputs": {"digest": "${{ steps.push.outputs.digest }}"},
            }
        ),
    ),
    "everything": replace(
        PLAIN,
        clone=CLONE,
        job=PLAIN.job.model_copy(
            update={
                "image": "golang:1.26",
                "resources": Resources(cpu_millis=2000, memory_bytes=64 << 20),
                "services": SERVICES,
                "user": "root",
                "node_selector": {"kubernetes.io/arch": "arm64"},
            }
        ),
    ),
}


def shown(objects: Objects) -> dict[str, Any]:
    """Return the objects in readable form: the Secret's data is decoded, and the step driver is left out.

    The step driver has its own tests.
    """
    secret = owned_by(objects.secret, objects.job["metadata"]["name"], JOB_UID)
    data = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    return {
        "job": objects.job,
        "secret": {
            **secret,
            "data": {
                key: "the step driver" if key == "driver" else json.loads(text) for key, text in data.items()
            },
        },
    }


def golden(name: str) -> Path:
    return GOLDEN / f"{name}.json"


def main() -> None:
    for name, order in ORDERS.items():
        golden(name).write_text(
            json.dumps(shown(objects_of(order, SETTINGS)), indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
