"""The labels of clusters: which jobs a cluster may run. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RegisteredCluster:
    """A cluster as its executors have registered it."""

    name: str
    labels: Mapping[str, str]


def offers(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Return whether a cluster with these labels may run a job that asks for `wanted`."""
    return all(labels.get(key) == value for key, value in wanted.items())


def none_offers(wanted: Mapping[str, str], registered: Iterable[RegisteredCluster]) -> str:
    """Return the sentence for users about a job whose labels no cluster has."""
    clusters = ", ".join(
        f"{cluster.name} ({_listed(cluster.labels) or 'no labels'})"
        for cluster in sorted(registered, key=lambda one: one.name)
    )
    return (
        f"No cluster has the labels {_listed(wanted)} that `cluster` asks for. Registered: {clusters}."
        " An administrator sets TOWPATH_CLUSTER_LABELS of a cluster's executor."
    )


def _listed(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in sorted(labels.items()))
