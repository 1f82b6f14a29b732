"""Tests of the checks of `make deploy` before its first request to a cluster."""

from pathlib import Path

import pytest

from devstack.deploy import deploy, overlay_folder, placeholders
from devstack.errors import DevstackError
from devstack.settings import DevstackSettings

SECRETS = """\
kind: ConfigMap
data: {HINT: Q0hBTkdFX01F}
---
kind: Secret
metadata: {name: one}
data:
  FILLED: c2VjcmV0
  TOWPATH_AMQP_URL: YW1xcDovL3Rvd3BhdGg6Q0hBTkdFX01FQG1x
---
kind: Secret
metadata: {name: none}
"""


def test_what_nobody_has_filled_in_is_named() -> None:
    assert placeholders(SECRETS) == ["one.TOWPATH_AMQP_URL"]


@pytest.mark.parametrize("name", ["dev", "external", "production"])
def test_an_overlay_is_found_by_its_name(name: str) -> None:
    assert (overlay_folder(name) / "kustomization.yaml").is_file()


def test_an_overlay_of_ones_own_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").touch()
    assert overlay_folder(str(tmp_path)) == tmp_path.resolve()


def test_an_overlay_that_is_not_there_is_answered_with_those_that_are() -> None:
    with pytest.raises(DevstackError, match="dev, external, production"):
        overlay_folder("staging")


def test_without_kubectl_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DevstackError, match="kubectl is not installed"):
        deploy(DevstackSettings(), print)
