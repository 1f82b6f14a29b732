"""A stored matrix keeps the order of its document, although `jsonb` does not keep the order of names."""

import json

from services.scheduler.planning import definition_of
from shared.pipeline.expansion import expand
from shared.pipeline.load import load
from shared.pipeline.matrix import joined
from shared.pipeline.model import Job, Pipeline

DOCUMENT = b"""
version: 1
repository: octo/web
on: { push: {} }
jobs:
  test:
    matrix:
      python: ["3.11"]
      os: [linux]
      include: [{ python: "3.14", arch: arm64, b: "1" }]
    steps: [{ run: "true" }]
"""
KEYS = ["test (3.11, linux)", "test (3.14, arm64, 1)"]


def from_jsonb(stored: object) -> object:
    """Return JSON as a column of the type `jsonb` does: names in an order of its own."""
    return json.loads(json.dumps(stored, sort_keys=True))


def test_the_keys_of_a_stored_pipeline_have_the_values_in_the_documents_order() -> None:
    pipeline = load(DOCUMENT)
    stored = Pipeline.model_validate(from_jsonb(pipeline.model_dump(mode="json")))
    assert [one.job.key for one in expand(pipeline, {}, {}).jobs] == KEYS
    assert [one.job.key for one in expand(stored, {}, {}).jobs] == KEYS


def test_outputs_of_a_stored_job_are_named_by_its_values_in_the_documents_order() -> None:
    jobs = [one.job for one in expand(load(DOCUMENT), {}, {}).jobs]
    stored = [Job.model_validate(from_jsonb(definition_of(job))) for job in jobs]
    assert stored == jobs
    assert [joined(job.matrix_values) for job in stored] == ["3.11, linux", "3.14, arm64, 1"]
