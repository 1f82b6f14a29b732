"""The first administrator is created once."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from services.gateway.bootstrap import make_first_admin
from shared.crypto import token_is_wellformed
from tests.integration.gateway.serving import make_settings, serving


async def test_it_prints_a_token_once(database_url: str) -> None:
    async def bootstrap() -> str:
        environment = os.environ | {"TOWPATH_DATABASE_URL": database_url}
        command = (sys.executable, "-m", "services.gateway.bootstrap", "--email", "Me@Example.org")
        process = await asyncio.create_subprocess_exec(
            *command, env=environment, cwd=Path(__file__).parents[3], stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await process.communicate()
        assert process.returncode == 0
        return printed.decode()

    first, second = await bootstrap(), await bootstrap()
    name, _, token = first.strip().partition("=")
    assert name == "TOWPATH_TOKEN"
    assert token_is_wellformed(token)
    assert "TOWPATH_TOKEN" not in second


async def test_of_many_at_once_one_makes_the_administrator(
    database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    settings = make_settings(database_url, amqp_url, tmp_path)
    tokens = [
        token
        for token in await asyncio.gather(*(make_first_admin(settings, "a@example.org") for _ in range(5)))
        if token
    ]
    assert len(tokens) == 1
    async with serving(settings, tokens[0]) as served:
        assert (await served.admin.get("/users/me")).expect(200).json["is_admin"] is True


async def test_it_takes_nobodys_address(database_url: str, amqp_url: str, tmp_path: Path) -> None:
    settings = make_settings(database_url, amqp_url, tmp_path)
    async with serving(settings, None) as served:
        await served.rows("UPDATE users SET is_admin = false")
        with pytest.raises(ValueError, match="belongs to a user"):
            await make_first_admin(settings, "ADMIN@example.org")
