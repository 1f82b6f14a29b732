"""Tests that docs/kubernetes.md agrees with the code and the manifests.

They compare settings, rights and reasons.
"""

import re

import pytest

from services.executor.settings import ExecutorSettings, KubernetesSettings
from services.gateway.settings import GatewaySettings
from services.logsink.settings import AgentSettings
from services.scheduler.settings import SchedulerSettings
from shared.settings import ServiceSettings
from shared.statuses import Reason
from tests.unit.deploy.rendered import ROOT
from tests.unit.deploy.test_builds import EXECUTOR, LOGSINK

PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
ALL_SETTINGS = {
    f"TOWPATH_{name.upper()}"
    for kind in (ExecutorSettings, GatewaySettings, AgentSettings, SchedulerSettings)
    for name in kind.model_fields
}


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_every_setting_that_is_named_exists() -> None:
    assert set(re.findall(r"TOWPATH_[A-Z_]+[A-Z]", PAGE)) <= ALL_SETTINGS


def test_every_setting_of_a_cluster_is_named() -> None:
    own = {*KubernetesSettings.model_fields, *AgentSettings.model_fields} - set(ServiceSettings.model_fields)
    wanted = {
        f"TOWPATH_{name.upper()}"
        for name in own
        if name.startswith(("kube", "agent")) or name in {"cluster", "backend"}
    }
    assert wanted <= set(re.findall(r"TOWPATH_[A-Z_]+[A-Z]", section("Settings")))


@pytest.mark.parametrize(
    ("account", "rights"),
    [("executor", EXECUTOR), ("logsink", LOGSINK), ("agent", {"pods": {"get", "list", "watch"}})],
)
def test_the_rights_are_those_of_the_roles(account: str, rights: dict[str, set[str]]) -> None:
    rows = re.findall(rf"^\| `{account}` \| ([\w/]+) \| ([\w, ]+) \|", section("Rights"), flags=re.MULTILINE)
    assert {resource: set(verbs.split(", ")) for resource, verbs in rows} == rights


def test_every_reason_has_its_line() -> None:
    named = [
        reason
        for row in re.findall(r"^\| (`[^|]+`) \|", section("Reading a reason"), flags=re.MULTILINE)
        for reason in re.findall(r"`(\w+)`", row)
    ]
    assert sorted(named) == sorted(Reason)
