"""Fixtures: an installation, a browser, and pages that record what must never happen."""

import asyncio
import functools
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from playwright.async_api import Browser, Page, async_playwright

from devstack.servers import Rabbit
from devstack.settings import ServerSources
from tests.conftest import Template, fresh_database, fresh_vhost
from tests.e2e.conftest import installation
from tests.harness.installation import Person, Towpath

HERE = Path(__file__).parent
WAIT_MS = 30_000


@functools.cache
def axe() -> str:
    """Return the source of axe-core. It is fetched once."""
    found = HERE / "node_modules" / "axe-core" / "axe.min.js"
    with FileLock(HERE / ".fetching"):
        if not found.exists():
            command = ["npm", "ci", "--no-audit", "--no-fund"]
            subprocess.run(command, cwd=HERE, check=True, capture_output=True, timeout=100)
    return found.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed (Debian's package: chromium)")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
async def towpath(
    template: Template, server_sources: ServerSources, rabbit: Rabbit | None
) -> AsyncIterator[Towpath]:
    with fresh_vhost(server_sources, rabbit) as amqp_url:
        async with (
            fresh_database(template) as database_url,
            installation(database_url, amqp_url) as shared,
        ):
            yield shared


@dataclass
class Tab:
    """A tab of a signed-in person. `broken` has what a page must never do."""

    page: Page
    url: str
    broken: list[str] = field(default_factory=list)

    async def open(self, path: str) -> None:
        await self.page.goto(self.url + path)

    async def violations(self) -> list[Any]:
        """Return what axe finds wrong with the page."""
        await self.page.evaluate(axe())
        found = await self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [
            (
                one["id"],
                [node["html"][:200] + " " + node["failureSummary"][-200:] for node in one["nodes"][:3]],
            )
            for one in found["violations"]
        ]


@asynccontextmanager
async def tab(
    chromium: Browser, towpath: Towpath, person: Person | None, **options: Any
) -> AsyncIterator[Tab]:
    """Open a tab, signed in by a link if a person is given. Asserts that the pages broke nothing."""
    context = await chromium.new_context(**options)
    context.set_default_timeout(WAIT_MS)
    page = await context.new_page()
    opened = Tab(page, towpath.url)
    page.on("pageerror", lambda error: opened.broken.append(str(error)))
    page.on("console", lambda said: _note(opened, said.text))
    if person is not None:
        link = (await person.client.post("/sign-in-links", {})).expect(201).json["url"]
        await page.goto(link)
        await page.wait_for_url("**/ui/")
    try:
        yield opened
        assert opened.broken == []
    finally:
        async with asyncio.timeout(30):
            await context.close()


def _note(opened: Tab, text: str) -> None:
    if "Content Security Policy" in text or "XSS" in text:
        opened.broken.append(text)
