"""Tests of the settings of the log sink and the agent."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from services.logsink.settings import AgentSettings, LogSinkSettings

NEEDED: dict[str, Any] = {"database_url": "postgresql://localhost/x", "amqp_url": "amqp://localhost/"}


@pytest.mark.parametrize(
    ("text", "clusters"),
    [
        ("", {}),
        ("eu=/etc/eu.yaml", {"eu": Path("/etc/eu.yaml")}),
        ("here=, eu = /etc/eu.yaml,", {"here": None, "eu": Path("/etc/eu.yaml")}),
    ],
)
def test_clusters_are_named_with_their_kubeconfigs(text: str, clusters: dict[str, Path | None]) -> None:
    assert LogSinkSettings(**NEEDED, kubeconfigs=text).clusters == clusters


def test_a_kubeconfig_without_a_cluster_is_refused() -> None:
    with pytest.raises(ValidationError):
        LogSinkSettings(**NEEDED, kubeconfigs="/etc/eu.yaml")


def test_an_agent_without_a_kubeconfig_uses_the_cluster_it_runs_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOWPATH_KUBECONFIG", "")
    assert AgentSettings(**NEEDED, cluster="eu", agent_node="node-1").kubeconfig is None
