"""Secrets in manifests: each value is a key of the Secret, and only its container refers to it."""

import base64
import json
from dataclasses import replace

from services.executor.kubernetes.manifest import objects_of
from shared.pipeline.claiming import SecretVariables
from shared.pipeline.model import Service, Step
from tests.unit.services.executor.kubernetes.orders import PLAIN, SETTINGS
from tests.unit.services.executor.kubernetes.test_manifest import containers_of, data_of, with_job

SECRETS = SecretVariables(
    job={"KEY": "k-value$(HOME)", "URL": "https://k-value@x"},
    steps={0: {"ONLY": "step-value"}},
    services={"db": {"PASSWORD": "db-value"}},
)


def test_values_are_keys_of_the_secret_and_never_in_the_job() -> None:
    job = with_job(services={"db": Service(image="postgres")}, steps=(Step(run="true"),))
    objects = objects_of(replace(job, secrets=SECRETS), SETTINGS)
    data = data_of(objects)
    values = [data[f"secret-{number}"].decode() for number in range(1, 5)]
    assert values == ["k-value$(HOME)", "https://k-value@x", "step-value", "db-value"]
    assert "-value" not in json.dumps(objects.job)
    containers = containers_of(objects)
    names = {
        name: [(one["name"], one["valueFrom"]["secretKeyRef"]["key"]) for one in container.get("env", [])]
        for name, container in containers.items()
    }
    of_steps = [(f"TOWPATH_SECRET_{number}", f"secret-{number}") for number in (1, 2, 3)]
    assert names.pop("job") == of_steps
    assert [one for one in names.values() if one] == [[("PASSWORD", "secret-4")]]
    assert "-value" not in data["driver"].decode()
    encoded = base64.b64encode(b"k-value").decode().rstrip("=")
    assert encoded not in json.dumps(objects.job)


def test_a_job_without_secrets_has_no_variables() -> None:
    assert "env" not in containers_of(objects_of(PLAIN, SETTINGS))["job"]
