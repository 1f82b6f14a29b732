"""Tests of the pipelines that the benches save."""

from bench import loud
from bench.towpath_stack import pipeline
from shared.pipeline.load import load


def test_a_benchs_pipeline_is_valid_and_runs_the_one_command_without_a_checkout() -> None:
    loaded = load(pipeline("bench/loud", loud.command(7)))
    [job] = loaded.jobs
    assert [step.run.strip() for step in job.steps] == [loud.command(7)]
    assert not job.checkout
