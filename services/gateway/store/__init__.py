"""The gateway's tables: the methods of one transaction, by subject.

They run the named queries of the `.sql` files in this folder.
"""

from pathlib import Path

from services.gateway.store.audit import AuditWork
from services.gateway.store.dead_letters import DeadLettersWork
from services.gateway.store.deliveries import DeliveriesWork
from services.gateway.store.history import HistoryWork
from services.gateway.store.logs import LogsWork
from services.gateway.store.overview import OverviewWork
from services.gateway.store.people import PeopleWork
from services.gateway.store.pipelines import PipelinesWork
from services.gateway.store.previews import PreviewsWork
from services.gateway.store.repositories import RepositoriesWork
from services.gateway.store.runs import RunsWork
from services.gateway.store.secrets import SecretsWork
from services.gateway.store.sessions import SessionsWork
from shared.database.store import Database, Queries, Relay, Store


class GatewayWork(
    AuditWork,
    DeadLettersWork,
    DeliveriesWork,
    HistoryWork,
    LogsWork,
    OverviewWork,
    PeopleWork,
    PipelinesWork,
    PreviewsWork,
    RepositoriesWork,
    RunsWork,
    SecretsWork,
    SessionsWork,
):
    """One transaction over all tables that the gateway reads and writes."""


GatewayStore = Store[GatewayWork]


def gateway_queries() -> Queries:
    """Return the named queries of all subjects."""
    return Queries(
        "\n".join(path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("*.sql")))
    )


def open_store(database: Database, relay: Relay | None) -> GatewayStore:
    return Store(database, gateway_queries(), GatewayWork, owner="gateway", relay=relay)
