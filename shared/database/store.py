"""Postgres: the connection pool, named queries, and transactions that store outgoing messages.

A service's `store` subclasses `Work` with its domain methods. Errors that mean that the database is
unavailable, or that the transaction is worth a retry, become `Transient`. All other errors are bugs.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import asyncpg
import orjson

from shared.cancellation import cancellations
from shared.crashpoint import crashpoint
from shared.errors import Transient
from shared.messaging.messages import Message, encode
from shared.settings import DatabaseSettings
from shared.tracing import current

_SAID_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,  # "connection is closed", "pool is closing"
    asyncpg.OperatorInterventionError,  # shutdown, restart, cancelled by an operator
    asyncpg.InsufficientResourcesError,  # disk full, too many connections
    asyncpg.TransactionRollbackError,  # deadlock, serialization failure
    asyncpg.LockNotAvailableError,
    asyncpg.InternalClientError,  # the protocol was interrupted
    asyncpg.InvalidCachedStatementError,  # a migration changed a column; the next try prepares again
)
_AWAY = (OSError, TimeoutError, *_SAID_AWAY)
"""Errors of an asyncpg call that mean that the database is unavailable.

OSError and TimeoutError count only inside such a call. Elsewhere they may be the caller's own.
"""


class Queries(Mapping[str, str]):
    """The named statements of a `queries.sql` file. Each begins with `-- name: <name>`.

    Text that several statements share begins with `-- part: <name>`. Statements include it as `:<name>`.
    """

    def __init__(self, text: str) -> None:
        _, *blocks = re.split(r"^-- (name|part): (\w+)[ \t]*$", text, flags=re.MULTILINE)
        kinds, names, bodies = blocks[::3], blocks[1::3], blocks[2::3]
        if len(names) != len(set(names)):
            raise ValueError("two queries have one name")
        found = list(zip(kinds, names, map(str.strip, bodies), strict=True))
        parts = {name: body for kind, name, body in found if kind == "part"}
        uses = re.compile(rf"(?<!:):({'|'.join(parts) or '(?!)'})\b")
        self._statements = {
            name: uses.sub(lambda use: parts[use[1]], body) for kind, name, body in found if kind == "name"
        }

    @classmethod
    def beside(cls, module_file: str) -> "Queries":
        """Read the queries.sql in the folder of this module (`Queries.beside(__file__)`)."""
        return cls(Path(module_file).with_name("queries.sql").read_text(encoding="utf-8"))

    def __getitem__(self, name: str) -> str:
        return self._statements[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._statements)

    def __len__(self) -> int:
        return len(self._statements)


@contextmanager
def database_faults(kinds: tuple[type[Exception], ...] = _AWAY) -> Iterator[None]:
    """Raise Transient instead of errors that mean that the database is unavailable.

    Raises CancelledError if the task was cancelled during the call: asyncpg can replace the cancellation by
    an error of its own.
    """
    before = cancellations()
    try:
        yield
    except kinds as error:
        # asyncpg.DataError: an argument of the wrong type is a bug, not an outage.
        if isinstance(error, ValueError):
            raise
        if cancellations() > before:
            raise asyncio.CancelledError from error
        raise Transient(f"database: {type(error).__name__}: {error}") from error


class _Connection(asyncpg.Connection):
    """An asyncpg connection whose statements, BEGIN and COMMIT too, raise Transient during an outage.

    Only the statements are covered. The caller's own OSError between two statements stays as it is.
    """

    async def execute(self, *args: Any, **options: Any) -> str:
        with database_faults():
            return await super().execute(*args, **options)

    async def fetch(self, *args: Any, **options: Any) -> Any:
        with database_faults():
            return await super().fetch(*args, **options)

    async def fetchrow(self, *args: Any, **options: Any) -> Any:
        with database_faults():
            return await super().fetchrow(*args, **options)

    async def fetchval(self, *args: Any, **options: Any) -> Any:
        with database_faults():
            return await super().fetchval(*args, **options)


_outbox = Queries.beside(__file__)


class Database:
    """A pool of connections.

    Connections are opened when they are needed, so a service can start while Postgres is unavailable.
    """

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", settings: DatabaseSettings) -> None:
        self._pool = pool
        self._acquire_seconds = settings.database_acquire_seconds

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """Yield a connection outside a transaction: each statement commits on its own. Raises Transient."""
        with database_faults():
            connection = await self._pool.acquire(timeout=self._acquire_seconds)
        try:
            with database_faults(_SAID_AWAY):
                yield connection
        finally:
            with database_faults():
                await self._pool.release(connection)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Any]:
        """Yield a connection in a transaction, which is committed if the block ends without an exception.

        Raises Transient, also if the answer to COMMIT is lost.
        """
        async with self.connection() as connection, connection.transaction():
            yield connection

    async def answers(self) -> bool:
        try:
            async with self.connection() as connection:
                return bool(await connection.fetchval("SELECT true", timeout=2))
        except Transient:
            return False


async def _prepare(connection: Any) -> None:
    for name in ("json", "jsonb"):
        mark = b"\x01" if name == "jsonb" else b""  # the wire format of jsonb begins with a version
        await connection.set_type_codec(
            name,
            schema="pg_catalog",
            format="binary",
            encoder=lambda value, mark=mark: mark + orjson.dumps(value),
            decoder=lambda data, mark=mark: orjson.loads(data[len(mark) :]),
        )

    for enum in await connection.fetch(
        "SELECT typname FROM pg_type WHERE typtype = 'e' AND typnamespace = current_schema()::regnamespace"
    ):
        # Without a codec asyncpg queries the catalogue, which takes 20 ms per connection.
        await connection.set_builtin_type_codec(enum["typname"], codec_name="text")


async def _nothing_to_reset(_connection: Any) -> None:
    """Replace asyncpg's reset, which costs one round trip per use of a connection.

    Our code sets nothing that outlives a transaction, and leaves no cursor or listener.
    """


@asynccontextmanager
async def open_database(settings: DatabaseSettings) -> AsyncIterator[Database]:
    """Open the database for the duration of the block, without waiting for it to answer."""
    pool = await asyncpg.create_pool(
        settings.database_url.get_secret_value(),
        min_size=0,
        max_size=settings.database_pool_size,
        timeout=settings.database_connect_seconds,
        command_timeout=settings.database_command_seconds,
        server_settings={
            "idle_in_transaction_session_timeout": str(
                round(settings.database_idle_transaction_seconds * 1000)
            ),
            "jit": "off",  # compilation takes longer than any of our statements
            "plan_cache_mode": settings.database_plan_cache_mode,
        },
        connection_class=_Connection,
        init=_prepare,
        reset=_nothing_to_reset,
    )
    try:
        yield Database(pool, settings)
    finally:
        pool.terminate()  # finished connections are idle; a hung one must not delay the shutdown


class Relay(Protocol):
    """Receives outbox rows right after their commit. See `shared.messaging.outbox`."""

    def hand_over(self, rows: list[tuple[int, Message]]) -> None: ...


class Work:
    """One transaction with the named queries of a service. Not for concurrent use."""

    def __init__(self, connection: Any, queries: Queries) -> None:
        self._connection = connection
        self._queries = queries
        self.outgoing: list[Message] = []

    def send(self, *messages: Message) -> None:
        """Store these messages with this transaction. They are published after it has committed.

        Those without a trace get that of the current unit of work, if it has one.
        """
        trace = current()
        self.outgoing.extend(
            message.model_copy(update={"traceparent": trace})
            if trace and not message.traceparent
            else message
            for message in messages
        )

    async def _rows(self, name: str, *arguments: Any) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await self._connection.fetch(self._queries[name], *arguments)
        return rows

    async def _row(self, name: str, *arguments: Any) -> asyncpg.Record | None:
        row: asyncpg.Record | None = await self._connection.fetchrow(self._queries[name], *arguments)
        return row

    async def _value(self, name: str, *arguments: Any) -> Any:
        return await self._connection.fetchval(self._queries[name], *arguments)

    async def _run(self, name: str, *arguments: Any) -> int:
        """Return the number of rows that the statement changed."""
        answer: str = await self._connection.execute(self._queries[name], *arguments)
        rows = answer.rpartition(" ")[2]  # such as `UPDATE 3`; `SET` has no number
        return int(rows) if rows.isdecimal() else 0


W = TypeVar("W", bound=Work)


class Store(Generic[W]):
    """Access to a service's tables, through transactions with its own subclass of `Work`."""

    def __init__(
        self, database: Database, queries: Queries, work: type[W], *, owner: str, relay: Relay | None = None
    ) -> None:
        """Create a store. `owner` names the service in its outbox rows.

        Without a `relay`, the rows wait until a relay of the service claims them from the table.
        """
        self._database = database
        self._queries = queries
        self._work = work
        self._owner = owner
        self._relay = relay

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[W]:
        """Yield the work of one transaction. Its messages are stored with it and published after its commit.

        Raises Transient. Then nothing is stored, or, if the answer to COMMIT was lost, perhaps everything.
        """
        async with self._database.transaction() as connection:
            work = self._work(connection, self._queries)
            yield work
            stored = await self._store_outgoing(connection, work.outgoing)
            if stored:
                crashpoint("store.before_commit")
        if stored:
            crashpoint("store.committed_not_handed_over")
        if stored and self._relay is not None:
            self._relay.hand_over(stored)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[W]:
        """Yield work outside a transaction, for reads and for single statements that send no messages."""
        async with self._database.connection() as connection:
            work = self._work(connection, self._queries)
            yield work
            if work.outgoing:
                raise RuntimeError("messages are sent in a transaction")

    async def _store_outgoing(self, connection: Any, messages: list[Message]) -> list[tuple[int, Message]]:
        if not messages:
            return []
        rows = await connection.fetch(
            _outbox["outbox_insert"], self._owner, [m.type for m in messages], [encode(m) for m in messages]
        )
        return [(row["id"], message) for row, message in zip(rows, messages, strict=True)]
