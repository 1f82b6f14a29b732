"""Tests of the size of a job's /dev/shm with an old bubblewrap."""

from pathlib import Path

import pytest

from services.executor.local.sandbox import Sandbox, choose

OLD = "bwrap: Unknown option --size"


async def test_a02_a_bubblewrap_that_can_not_limit_it_is_used_without_a_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def probe(sandbox: Sandbox, local: Path) -> str:
        return OLD if "--size" in sandbox.job(local, local).prefix else ""

    monkeypatch.setattr("services.executor.local.sandbox._probe", probe)
    chosen = await choose("auto", Sandbox(None, None), tmp_path)
    assert (chosen.bubblewrap, chosen.shm_bytes) == (True, None)
    assert "/dev/shm" in chosen.job(tmp_path, tmp_path).prefix  # noqa: S108 - an argument of bubblewrap
