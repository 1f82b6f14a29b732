"""Secrets in definitions: what older releases read, what the scheduler leaves, what the executor fills in."""

import pytest
from pydantic import TypeAdapter, ValidationError

from services.scheduler.planning import definition_of
from shared.events import Event, EventKind, context
from shared.pipeline.claiming import claimed
from shared.pipeline.expansion import ConfigInvalid, expand
from shared.pipeline.load import load
from shared.pipeline.model import Job, Pipeline, Step

TEXT = """\
version: 1
repository: octo/web
on: { push: {} }
env: { HOST: example.org }
jobs:
  deploy:
    secrets: [KEY, OTHER]
    image: python
    env: { URL: "https://x:${{ secrets.KEY }}@${{ env.HOST }}/${{ event.branch }}", PLAIN: y }
    services: { db: { image: postgres, env: { PASSWORD: "${{ secrets.KEY }}", MODE: "${{ event.type }}" } } }
    steps:
      - id: first
        run: "true"
      - env:
          ALONE: ${{ secrets.OTHER }}
          MIXED: ${{ steps.first.outputs.x }}/${{ secrets.KEY }}
        run: "true"
"""
PUSH = Event(kind=EventKind.PUSH, repository="octo/web", trusted=True, ref="refs/heads/dev", branch="dev")


def final_job(text: str = TEXT) -> Job:
    """Return the job as the scheduler stores it, read back."""
    (planned,) = expand(load(text), context(PUSH), {}).jobs
    assert planned.problem is None
    return Job.model_validate(definition_of(planned.job))


def test_secrets_are_filled_in_apart_from_the_job() -> None:
    job, found = claimed(final_job(), {"KEY": "k-value", "OTHER": "o-value"})
    url = "https://x:k-value@example.org/dev"
    assert found.job == {"KEY": "k-value", "OTHER": "o-value", "URL": url}
    assert found.services == {"db": {"PASSWORD": "k-value"}}
    assert found.steps == {1: {"ALONE": "o-value"}}
    assert list(job.templates) == ["steps.1.env.MIXED"]
    assert (job.env, job.services["db"].env) == ({"HOST": "example.org", "PLAIN": "y"}, {"MODE": "push"})
    assert "value" not in repr(found)


def test_the_scheduler_stores_no_more_than_the_names() -> None:
    assert final_job().templates["env.URL"] == "https://x:${{ secrets.KEY }}@example.org/dev"


def test_a_secret_without_a_value_is_unset_and_empty_in_expressions() -> None:
    _, found = claimed(final_job(), {})
    assert found.job == {"URL": "https://x:@example.org/dev"}
    assert found.steps == {1: {"ALONE": ""}}


def test_a_value_that_is_too_long_is_refused_without_being_shown() -> None:
    text = TEXT.replace("PLAIN: y", 'PLAIN: "${{ secrets.KEY }}${{ secrets.KEY }}"')
    with pytest.raises(ConfigInvalid) as refused:
        claimed(final_job(text), {"KEY": "k" * (60 << 10), "OTHER": "o"})
    assert "env.PLAIN" in str(refused.value)
    assert "kkk" not in str(refused.value)


def test_a_release_without_secrets_cannot_read_a_job_that_has_some() -> None:
    """Its model takes a list of steps, and ignores keys that it does not know."""
    definition = definition_of(final_job())
    with pytest.raises(ValidationError):
        TypeAdapter(tuple[Step, ...]).validate_python(definition["steps"])
    saved = load(TEXT)
    stored = saved.model_dump(mode="json")
    with pytest.raises(ValidationError):
        TypeAdapter(tuple[Step, ...]).validate_python(stored["jobs"][0]["steps"])
    assert Pipeline.model_validate(stored) == saved
    assert Pipeline.model_validate_json(saved.model_dump_json()) == saved


def test_jobs_without_secrets_are_stored_as_before() -> None:
    job = Job(name="a", steps=(Step(run="true"),))
    assert isinstance(definition_of(job)["steps"], list)
    assert "secrets" not in definition_of(job)
