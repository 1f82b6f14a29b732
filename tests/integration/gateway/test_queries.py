"""Every named statement can be prepared on the migrated database."""

import asyncpg

from services.gateway.store import gateway_queries


async def test_every_query_can_be_prepared(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        for name, statement in gateway_queries().items():
            assert statement.startswith("--"), f"{name} says nothing about itself"
            await connection.prepare(statement)
    finally:
        await connection.close()
