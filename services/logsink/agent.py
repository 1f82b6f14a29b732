"""The node agent: the log sink for the pods of one node, whose logs it reads from the kubelet's directory.

It is for clusters where following logs through the API server costs too much. One agent runs on every node (a
DaemonSet). It reads the streams whose location is `node:///…` and whose pod is on its node, and writes them
under a lease, as any log sink does. The log sink seals streams that no agent can read any more.
"""

import asyncio
from contextlib import closing

from services.logsink.assembly import assembled
from services.logsink.clusters import Bounds, open_clusters
from services.logsink.node import Node
from services.logsink.opening import read_on_node
from services.logsink.settings import AgentSettings
from services.logsink.wakeups import Wakeups
from shared.database.store import open_database
from shared.logconfig import configure_logging
from shared.messaging.bus import open_bus
from shared.service import Service


async def main() -> None:
    settings = AgentSettings()
    configure_logging(settings, "logsink-agent")
    bounds = Bounds(settings.log_follows, settings.kubernetes_watch_seconds)
    with closing(Wakeups()) as wakeups:
        async with (
            open_clusters({settings.cluster: settings.kubeconfig}, bounds, settings.agent_node) as clusters,
            open_database(settings) as database,
            open_bus(settings, "logsink-agent") as bus,
            Service("logsink-agent", settings) as service,
        ):
            cluster = clusters[settings.cluster]
            node = Node(
                settings.agent_pod_logs,
                settings.kubernetes_namespace,
                cluster.watch(settings.kubernetes_namespace),
                wakeups,
            )
            source_of = read_on_node(wakeups, cluster, settings.agent_pod_logs, settings.log_line_bytes)
            logs = assembled(settings, database, bus, source_of, node.reach)
            service.ready_when("database", database.answers)
            service.ready_when("bus", bus.answers)
            for runnable in (*logs.runnables, wakeups):
                service.keep_running(runnable)
            service.keep_running(
                node.taking(
                    logs.sink, logs.store, settings.cluster, check_seconds=settings.log_take_over_seconds
                )
            )
            await service.until_signalled()


if __name__ == "__main__":
    asyncio.run(main())
