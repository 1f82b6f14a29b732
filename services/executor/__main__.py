"""The executor: runs attempts on one named cluster and decides their verdicts.

It is the only writer of `attempts`, `attempt_transitions` and `clusters`. It may run in several replicas, and
each may be killed at any moment: jobs continue without it.
"""

import asyncio

from services.executor.attempt_store import Place
from services.executor.attempts import Attempts, Watching
from services.executor.consumers import Consumers
from services.executor.git_queries import GitQueries
from services.executor.opening import open_cluster
from services.executor.reconciler import Checks
from services.executor.refs import Refs
from services.executor.registration import Registration
from services.executor.settings import ExecutorSettings
from services.executor.store import installation_of, open_store
from services.executor.tokens import clone_token_opener
from shared.database.migrate import until_migrated
from shared.database.store import open_database
from shared.logconfig import configure_logging
from shared.messaging import topology
from shared.messaging.bus import open_bus
from shared.messaging.outbox import OutboxRelay
from shared.reconcile import Reconciler
from shared.service import Service


async def main() -> None:
    settings = ExecutorSettings()
    configure_logging(settings, "executor")
    open_token = clone_token_opener(settings.encryption_key_file)
    async with open_database(settings) as database, open_bus(settings, "executor") as bus:
        await until_migrated(database)
        relay = OutboxRelay(database, bus, owner="executor")
        store = open_store(database, relay)
        installation = await installation_of(store)
        async with open_cluster(settings, installation) as cluster, Service("executor", settings) as service:
            place = Place(settings.cluster, installation, settings.cluster_labels)
            attempts = Attempts(store, cluster, place, open_token, settings)
            queries = GitQueries(
                seconds=settings.ref_seconds,
                at_once=settings.refs_at_once,
                allow_local=settings.allow_local_clone_urls,
            )
            refs = Refs(store, queries, settings.cluster, open_token, settings.ref_give_up_seconds)
            queue = topology.executor_queue(settings.cluster)
            service.ready_when("database", database.answers)
            service.keep_running(relay)
            service.keep_running(Registration(store, place))
            service.keep_running(Watching(attempts, cluster))
            service.keep_running(
                bus.consumer(
                    queue, Consumers(attempts, refs).on_messages, batch=settings.message_batch, workers=2
                )
            )
            service.keep_running(
                Reconciler(Checks(store, attempts, refs, settings).checks(), settings.reconcile_seconds)
            )
            await service.until_signalled()


if __name__ == "__main__":
    asyncio.run(main())
