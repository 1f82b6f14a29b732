"""Watches on a real API server whose connections become silent.

Nobody closes such a connection, and no more data arrives on it.
"""

from pathlib import Path

import pytest
import yaml

from tests.chaos.cluster import through
from tests.chaos.proxy import open_proxy
from tests.harness.kubernetes import kubeconfig
from tests.integration.executor.kubernetes_world import Hand, ready, running
from tests.integration.executor.world import World

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(180)]

WATCH_SECONDS = 5.0


async def test_f28_what_a_silent_watch_does_not_tell_is_seen_all_the_same(
    world: World, hand: Hand, tmp_path: Path
) -> None:
    """No reconciler runs, so the watch itself has to notice that its connection is silent."""
    path = kubeconfig()
    assert path is not None
    config, own = yaml.safe_load(path.read_text()), tmp_path / "kubeconfig"
    async with open_proxy(config["clusters"][0]["cluster"]["server"]) as proxy:
        own.touch(mode=0o600)
        own.write_text(yaml.safe_dump(through(config, proxy.port)))
        async with running(world, kubeconfig=own, kubernetes_watch_seconds=WATCH_SECONDS) as remote:
            oracle = hand.witness.oracle()
            wanted = await world.job(f"{oracle.append('began')}; sleep 6; exit 3")
            await remote.consumers.on_messages([ready(wanted)])
            await hand.said(oracle)
            proxy.strand()
            attempt = await world.judged_by_itself(wanted)
    assert (attempt["outcome"], attempt["reason"], attempt["exit_code"]) == ("failed", "script_failed", 3)
