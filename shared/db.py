"""Postgres: the pool, named queries, and transactions whose messages leave with them.

A service's `store` subclasses `Work` with its domain methods. What makes the database unreachable or the
transaction worth another try surfaces as `Transient`; all else is a bug.
"""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import asyncpg
import orjson

from shared.crashpoint import crashpoint
from shared.errors import Transient
from shared.messages import Message, encode
from shared.settings import DatabaseSettings

_SAID_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,  # "connection is closed", "pool is closing"
    asyncpg.OperatorInterventionError,  # shutdown, restart, cancelled by an operator
    asyncpg.InsufficientResourcesError,  # disk full, too many connections
    asyncpg.TransactionRollbackError,  # deadlock, serialization failure
    asyncpg.LockNotAvailableError,
    asyncpg.InternalClientError,  # the protocol broke off in the middle
)
_AWAY = (OSError, TimeoutError, *_SAID_AWAY)
"""Out of a call to asyncpg; anywhere else the first two may be the caller's own."""


class Queries(Mapping[str, str]):
    """The named statements of a `queries.sql`: each begins with `-- name: <name>`.

    What several of them say alike stands once, behind `-- part: <name>`, and is written `:<name>` in them.
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
        """The queries.sql in the folder of this module (`Queries.beside(__file__)`)."""
        return cls(Path(module_file).with_name("queries.sql").read_text(encoding="utf-8"))

    def __getitem__(self, name: str) -> str:
        return self._statements[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._statements)

    def __len__(self) -> int:
        return len(self._statements)


@contextmanager
def database_faults(kinds: tuple[type[Exception], ...] = _AWAY) -> Iterator[None]:
    """Turns what says "the database is away" into Transient."""
    try:
        yield
    except kinds as error:
        if isinstance(
            error, ValueError
        ):  # asyncpg.DataError: an argument of the wrong type is a bug, not an outage
            raise
        raise Transient(f"database: {type(error).__name__}: {error}") from error


class _Connection(asyncpg.Connection):
    """asyncpg's, whose statements (BEGIN and COMMIT too) say in our word that the database is away: a
    caller's own OSError between them is another thing.
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

    A connection is made when one is needed, so a service starts while Postgres is away.
    """

    def __init__(self, pool: "asyncpg.Pool[asyncpg.Record]", settings: DatabaseSettings) -> None:
        self._pool = pool
        self._acquire_seconds = settings.database_acquire_seconds

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection outside a transaction: each statement is its own. Raises Transient."""
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
        """A connection in a transaction, committed when the block ends well.

        Raises Transient, also when the COMMIT's answer is lost.
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
        mark = b"\x01" if name == "jsonb" else b""  # jsonb's wire format begins with its version
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
        await connection.set_builtin_type_codec(
            enum["typname"], codec_name="text"
        )  # else asyncpg asks the catalogue, 20 ms for each connection


async def _nothing_to_reset(_connection: Any) -> None:
    """asyncpg's own reset costs a round trip each time; ours set nothing that outlives a transaction, and
    leave no cursor or listener.
    """


@asynccontextmanager
async def open_database(settings: DatabaseSettings) -> AsyncIterator[Database]:
    """The database while the block lasts. Does not wait for it to answer."""
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
            "jit": "off",  # compiling takes longer than any statement of ours
            "plan_cache_mode": settings.database_plan_cache_mode,
        },
        connection_class=_Connection,
        init=_prepare,
        reset=_nothing_to_reset,
    )
    try:
        yield Database(pool, settings)
    finally:
        pool.terminate()  # connections of finished work are idle; a hung one must not hold up the end


class Relay(Protocol):
    """Where committed outbox rows go at once; see `shared.outbox`."""

    def hand_over(self, rows: list[tuple[int, Message]]) -> None: ...


class Work:
    """One transaction over a service's named queries. Not for concurrent use."""

    def __init__(self, connection: Any, queries: Queries) -> None:
        self._connection = connection
        self._queries = queries
        self.outgoing: list[Message] = []

    def send(self, *messages: Message) -> None:
        """Stores these messages with this transaction; they are published when it has committed."""
        self.outgoing.extend(messages)

    async def _rows(self, name: str, *arguments: Any) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await self._connection.fetch(self._queries[name], *arguments)
        return rows

    async def _row(self, name: str, *arguments: Any) -> asyncpg.Record | None:
        row: asyncpg.Record | None = await self._connection.fetchrow(self._queries[name], *arguments)
        return row

    async def _value(self, name: str, *arguments: Any) -> Any:
        return await self._connection.fetchval(self._queries[name], *arguments)

    async def _run(self, name: str, *arguments: Any) -> int:
        """The number of rows that the statement touched."""
        answer: str = await self._connection.execute(self._queries[name], *arguments)
        rows = answer.rpartition(" ")[2]  # `UPDATE 3`, but `SET`
        return int(rows) if rows.isdecimal() else 0


W = TypeVar("W", bound=Work)


class Store(Generic[W]):
    """The door to a service's tables: transactions of its own kind of `Work`."""

    def __init__(
        self, database: Database, queries: Queries, work: type[W], *, owner: str, relay: Relay | None = None
    ) -> None:
        """`owner` names the service in its outbox rows.

        Without a relay the rows wait for the service's relay to look.
        """
        self._database = database
        self._queries = queries
        self._work = work
        self._owner = owner
        self._relay = relay

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[W]:
        """Status, history and messages of the block are one transaction; the messages are published once it
        has committed.

        Raises Transient: nothing is stored, or (the answer to COMMIT was lost) perhaps all of it.
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
        """Work whose statements each stand alone: for reads, and for single statements that send nothing."""
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
