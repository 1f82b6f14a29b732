"""Tests of the jobs that the local cluster refuses, and of the messages to people."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.executor.backend import Refused
from services.executor.local.backend import LocalBackend
from services.executor.local.sandbox import Sandbox
from shared.pipeline.model import Service
from tests.contracts.clusters import INSTALLATION, LIMITS, spec


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"services": {"db": Service(image="postgres:16")}}, "no `services`:"),
        ({"user": "root"}, "no `user`:"),
        ({"node_selector": {"arch": "arm64"}}, "no `kubernetes`:"),
        ({"user": "root", "services": {"db": Service(image="postgres:16")}}, "no `services` and no `user`:"),
    ],
)
async def test_a_job_that_needs_containers_is_refused_by_the_key_that_asks_for_them(
    tmp_path: Path, wish: dict[str, Any], words: str
) -> None:
    wanted = spec()
    async with LocalBackend(tmp_path / "local", INSTALLATION, Sandbox(None, None), LIMITS) as cluster:
        with pytest.raises(Refused, match=words):
            await cluster.create(replace(wanted, job=wanted.job.model_copy(update=wish)))
        assert await cluster.everything() == []
