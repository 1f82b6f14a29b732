"""A cluster runs the jobs whose labels it has, and refuses others with a sentence."""

import pytest
from pydantic import SecretStr, ValidationError

from services.executor.clusters import RegisteredCluster, none_offers, offers
from services.executor.settings import ExecutorSettings


@pytest.mark.parametrize(
    ("labels", "wanted", "may_run"),
    [
        ({}, {}, True),
        ({"region": "eu"}, {}, True),
        ({"region": "eu", "arch": "arm64"}, {"region": "eu"}, True),
        ({"region": "eu"}, {"region": "us"}, False),
        ({"region": "eu"}, {"region": "eu", "arch": "arm64"}, False),
        ({}, {"region": ""}, False),
    ],
)
def test_a_cluster_runs_the_jobs_whose_labels_it_has(
    labels: dict[str, str], wanted: dict[str, str], may_run: bool
) -> None:
    assert offers(labels, wanted) is may_run


def test_a_job_whose_labels_no_cluster_has_is_told_which_clusters_there_are() -> None:
    registered = [RegisteredCluster("main", {"region": "us", "arch": "arm64"}), RegisteredCluster("lab", {})]
    assert none_offers({"region": "eu"}, registered) == (
        "No cluster has the labels region=eu that `cluster` asks for."
        " Registered: lab (no labels), main (arch=arm64, region=us)."
        " An administrator sets TOWPATH_CLUSTER_LABELS of a cluster's executor."
    )


def settings(labels: str) -> ExecutorSettings:
    return ExecutorSettings.model_validate(
        {
            "database_url": SecretStr("postgresql://unused"),
            "amqp_url": SecretStr("amqp://unused"),
            "cluster_labels": labels,
        }
    )


def test_the_labels_of_a_cluster_are_a_setting() -> None:
    assert settings("region=eu, kubernetes.io/arch=arm64,ssd=").cluster_labels == {
        "region": "eu",
        "kubernetes.io/arch": "arm64",
        "ssd": "",
    }
    assert settings("").cluster_labels == {}


@pytest.mark.parametrize("labels", ["=eu", "-a=b", "region=e u"])
def test_labels_that_no_job_could_ask_for_are_refused(labels: str) -> None:
    with pytest.raises(ValidationError, match="is not a label's"):
        settings(labels)
