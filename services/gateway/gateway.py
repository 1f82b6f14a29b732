"""Builds the objects of one gateway: those that request handlers use, and the background tasks."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from services.gateway.consumers import on_live
from services.gateway.dead_letters import on_dead, on_unreadable
from services.gateway.effects import Effects
from services.gateway.http.auth import Callers
from services.gateway.logs.live_logs import LiveLogs
from services.gateway.logs.streams import Streams
from services.gateway.logs.viewers import Viewers
from services.gateway.memory import MemoryReturn
from services.gateway.pipeline_reader import PipelineReader
from services.gateway.reconciler import open_reconciler
from services.gateway.settings import GatewaySettings
from services.gateway.store import GatewayStore, open_store
from services.gateway.webhooks.acceptance import Acceptance
from services.gateway.webhooks.body_memory import BodyMemory
from services.gateway.webhooks.fallback_queue import BATCH, FallbackQueue, on_arrived
from services.gateway.webhooks.hook_secrets import HookSecrets
from services.gateway.webhooks.receive import Webhooks
from services.gateway.webhooks.record import Record
from shared.crypto import Keyring
from shared.database.store import Database
from shared.messaging import topology
from shared.messaging.bus import Bus
from shared.messaging.outbox import OutboxRelay
from shared.messaging.raw_consumer import RawConsumer
from shared.service import Runnable


@dataclass(frozen=True)
class Gateway:
    """The objects that request handlers use."""

    settings: GatewaySettings
    store: GatewayStore
    keyring: Keyring | None
    """None if no key file is configured. Secrets cannot be stored then."""
    callers: Callers
    hook_secrets: HookSecrets
    acceptance: Acceptance
    webhooks: Webhooks
    effects: Effects
    live: LiveLogs
    viewers: Viewers
    memory: BodyMemory
    streams: Streams
    pipelines: PipelineReader
    tasks: Sequence[Runnable]
    """Background tasks that run as long as the gateway serves requests."""


def _dead_letter_consumers(settings: GatewaySettings, store: GatewayStore, bus: Bus) -> list[RawConsumer]:
    return [
        bus.raw_consumer(queue.dead, partial(on_dead, store, queue.name), batch=BATCH)
        for queue in _queues_that_can_fail(settings)
    ]


def _queues_that_can_fail(settings: GatewaySettings) -> list[topology.Queue]:
    """Return the queues whose failed messages the broker moves to a dead letter queue.

    The fallback queue has no delivery limit. Its own handler stores its dead letters.
    """
    return [
        queue
        for queue in (*topology.FIXED, topology.executor_queue(settings.cluster))
        if queue.delivery_limit is not None
    ]


def _pipeline_reader(settings: GatewaySettings) -> PipelineReader:
    return PipelineReader(
        processes=settings.pipeline_processes,
        checks=settings.pipeline_checks,
        checks_per_user=settings.pipeline_checks_per_user,
        seconds=settings.pipeline_check_seconds,
        pattern_steps=settings.pattern_steps,
    )


def build_gateway(settings: GatewaySettings, database: Database, bus: Bus) -> Gateway:
    """Create all objects without starting tasks. Raises KeyringInvalid or OSError for an invalid key file."""
    relay = OutboxRelay(database, bus, owner="gateway")
    store = open_store(database, relay)
    record = Record(store, relay)
    keyring = Keyring.from_file(settings.encryption_key_file) if settings.encryption_key_file else None
    hook_secrets = HookSecrets(store, keyring, settings.hook_secrets_seconds)
    fallback = FallbackQueue(
        bus, wait_seconds=settings.inlet_wait_seconds, body_bytes=settings.inlet_body_bytes
    )
    acceptance = Acceptance(record.keep, fallback, database, settings.database_wait_seconds)
    memory = BodyMemory(settings.body_memory_bytes, settings.body_reserve_bytes)
    effects, live, viewers = Effects(store), LiveLogs(store), Viewers(store)
    tasks: tuple[Runnable, ...] = (
        relay,
        acceptance,
        fallback,
        hook_secrets,
        viewers,
        bus.raw_consumer(topology.INLET, partial(on_arrived, record, store), batch=BATCH),
        *_dead_letter_consumers(settings, store, bus),
        bus.raw_consumer(topology.OUTBOX_UNREADABLE, partial(on_unreadable, store), batch=BATCH),
        bus.exclusive_consumer(topology.LIVE_KEYS, partial(on_live, effects, live)),
        open_reconciler(store, settings),
        MemoryReturn(),
    )
    webhooks = Webhooks(settings, acceptance, hook_secrets, memory)
    most = min(settings.live_streams, max(1, settings.connections // 2))
    return Gateway(
        settings,
        store,
        keyring,
        Callers(store),
        hook_secrets,
        acceptance,
        webhooks,
        effects,
        live,
        viewers,
        memory,
        Streams(most, settings.live_streams_per_user),
        _pipeline_reader(settings),
        tasks,
    )
