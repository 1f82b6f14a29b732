"""Creates and drops databases on a server: the stack's own, and for each test a copy of a migrated template.

A copy is a separate installation with a new name, so two copies never use the same objects in a cluster.
"""

import secrets

import asyncpg

_NAME_ALPHABET = "abcdefghijklmnopqrstuvwxyz234567"


async def create_database(server_url: str, name: str) -> None:
    """Create an empty database. Do nothing if it exists."""
    connection = await _connect(server_url)
    try:
        if not await connection.fetchval("SELECT count(*) FROM pg_database WHERE datname = $1", name):
            await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()


async def copy_database(server_url: str, template: str, name: str) -> None:
    """Copy a migrated database as a new installation. Nobody may be connected to the template.

    `server_url` names another database.
    """
    connection = await _connect(server_url)
    try:
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    finally:
        await connection.close()
    copy = await _connect(with_database(server_url, name))
    try:
        await copy.execute("UPDATE installation SET name = $1", installation_name())
    finally:
        await copy.close()


async def drop_database(server_url: str, name: str) -> None:
    """Drop the database, and disconnect its clients."""
    connection = await _connect(server_url)
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    finally:
        await connection.close()


def installation_name() -> str:
    """Return 8 random base32 characters."""
    return "".join(secrets.choice(_NAME_ALPHABET) for _ in range(8))


def with_database(url: str, name: str) -> str:
    """Return the same server's address with another database."""
    head, slash, tail = url.partition("://")
    host, _, rest = tail.partition("/")
    query = rest.partition("?")[2]
    return f"{head}{slash}{host}/{name}" + (f"?{query}" if query else "")


async def _connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    return await asyncpg.connect(url, timeout=10, command_timeout=60)
