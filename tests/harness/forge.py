"""A real Gitea: repositories, hooks and pull requests through its API, pushes over HTTP."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from tests.harness.git import GitRepository


def forge_environment() -> dict[str, str] | None:
    """Return the variables of the file that TOWPATH_TEST_FORGE_ENV names, or None if there is no such file.

    The file has FORGE_URL, FORGE_USER, FORGE_PASSWORD and FORGE_TOKEN.
    """
    named = os.environ.get("TOWPATH_TEST_FORGE_ENV", "")
    path = Path(named)
    if not named or not path.is_file():
        return None
    return dict(line.split("=", 1) for line in path.read_text().splitlines() if "=" in line)


async def answers(environment: dict[str, str]) -> bool:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)) as session,
            session.get(environment["FORGE_URL"] + "/api/v1/version") as response,
        ):
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


@dataclass
class Forge:
    """The forge, used with its administrator's account."""

    session: aiohttp.ClientSession
    environment: dict[str, str]

    @property
    def url(self) -> str:
        return self.environment["FORGE_URL"]

    @property
    def user(self) -> str:
        return self.environment["FORGE_USER"]

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"token {self.environment['FORGE_TOKEN']}"}
        async with self.session.request(
            method, f"{self.url}/api/v1{path}", json=body, headers=headers
        ) as response:
            assert response.status < 300, f"{method} {path}: {response.status} {await response.text()}"
            return await response.json() if response.status != 204 else None

    async def repository(self, name: str, *, private: bool = False) -> dict[str, Any]:
        record: dict[str, Any] = await self.call(
            "POST", "/user/repos", {"name": name, "private": private, "default_branch": "main"}
        )
        return record

    async def hook(self, full_name: str, url: str, secret: str) -> None:
        config = {"url": url, "content_type": "json", "secret": secret}
        events = ["push", "pull_request", "create", "delete"]
        await self.call(
            "POST",
            f"/repos/{full_name}/hooks",
            {"type": "gitea", "active": True, "events": events, "config": config},
        )

    def remote(self, repository: GitRepository, full_name: str) -> None:
        """Add the remote `origin`, with the administrator's password for pushes."""
        parts = urlsplit(self.url)
        repository.git(
            "remote",
            "add",
            "origin",
            f"http://{self.user}:{self.environment['FORGE_PASSWORD']}@{parts.netloc}/{full_name}.git",
        )
