"""`make demo`: starts Towpath and runs a first pipeline.

It uses only the HTTP API and a signed webhook, as any user would. Everything keeps running afterwards. The
exit code is 0 only if the run succeeded.
"""

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp

from devstack.api import Api
from devstack.demo_log import LogPrinter
from devstack.demo_repository import PIPELINE, DemoRepository, push_payload
from devstack.errors import DevstackError
from devstack.settings import DevstackSettings
from devstack.state import read_environment, write_private
from devstack.up import Installation, Say, up

RUN_SECONDS = 20
"""Limit from the webhook to the run's row. It takes tens of milliseconds on an idle machine."""

STREAM_SECONDS = 300
"""Limit for the whole run, which takes about a second."""


@dataclass(frozen=True)
class Demo:
    """The objects that the first demo created. They are kept for the next demo."""

    token: str
    repository: str
    forge_id: int
    pipeline_id: int


def demo(settings: DevstackSettings, say: Say) -> int:
    """Run the demo and return the exit code."""
    started_at = time.monotonic()
    ours = up(settings, say)
    run, link = asyncio.run(_build_once(ours, say))
    say(_summary(ours, run, link, time.monotonic() - started_at))
    if run["status"] != "success":
        say(f"\nthe demo FAILED: the run ended {run['status']} ({run['reason'] or 'no reason'})")
        return 1
    return 0


async def _build_once(ours: Installation, say: Say) -> tuple[dict[str, Any], str]:
    """Push to the demo's repository and print what happens.

    Returns the finished run, and a link that opens its page signed in.
    """
    environment = read_environment(ours.environment_path)
    directory = ours.directory / "demo"
    repository = DemoRepository(directory / "repository")
    async with aiohttp.ClientSession() as session:
        admin = Api(session, environment["TOWPATH_URL"], environment["TOWPATH_TOKEN"])
        made = await _prepared(admin, session, directory, repository)
        api = Api(session, admin.url, made.token)
        push = await asyncio.to_thread(repository.push)
        say(
            f"\npushed {push.after[:8]} ({push.message}) to {made.repository}, and told Towpath as GitHub "
            "does"
        )
        delivery_id = await api.deliver_github_push(
            push_payload(push, made.repository, made.forge_id), environment["TOWPATH_GITHUB_WEBHOOK_SECRET"]
        )
        say(f"the webhook is accepted (delivery {delivery_id})\n")
        run_id = (
            await _until(
                lambda: _run_for(api, made.pipeline_id, push.after), RUN_SECONDS, "a run for the push"
            )
        )["id"]
        await _show_log(api, run_id, say)
        run = await _until(lambda: _finished(api, run_id), STREAM_SECONDS, "the run's verdict")
        link = await api.call("POST", "/sign-in-links", {"path": f"/ui/runs/{run_id}"})
        return run, link["url"]


async def _show_log(api: Api, run_id: int, say: Say) -> None:
    printer = LogPrinter(say)
    async with asyncio.timeout(STREAM_SECONDS):
        async for kind, data in api.events(f"/runs/{run_id}/logs/stream"):
            if printer.show(kind, data):
                return


async def _prepared(
    admin: Api, session: aiohttp.ClientSession, directory: Path, repository: DemoRepository
) -> Demo:
    """Return a user with a token, a repository and a pipeline, from an earlier demo or newly created."""
    path = directory / "demo.json"
    if path.exists():
        made = Demo(**json.loads(path.read_text()))
        if await Api(session, admin.url, made.token).exists(f"/pipelines/{made.pipeline_id}"):
            return made
    suffix = secrets.token_hex(3)
    user = await admin.call("POST", "/users", {"name": "Demo", "email": f"demo-{suffix}@example.org"})
    token = (
        await admin.call(
            "POST", "/tokens", {"name": "demo", "scopes": ["read", "write"], "user_id": user["id"]}
        )
    )["token"]
    name, forge_id = f"towpath-demo/greeting-{suffix}", secrets.randbelow(2**31) + 1
    record = {"full_name": name, "forge": "github", "forge_id": forge_id, "clone_url": repository.clone_url}
    repository_id = (await admin.call("POST", "/repositories", record))["id"]
    await admin.call("PUT", f"/repositories/{repository_id}/grants/{user['id']}", {"role": "maintainer"})
    person = Api(session, admin.url, token)
    pipeline = {
        "name": f"greeting-{suffix}",
        "description": "made by `make demo`",
        "yaml_config": PIPELINE.format(repository=name),
    }
    made = Demo(token, name, forge_id, (await person.call("POST", "/pipelines", pipeline))["id"])
    write_private(path, json.dumps(asdict(made)))
    return made


async def _run_for(api: Api, pipeline_id: int, sha: str) -> dict[str, Any] | None:
    runs = (await api.call("GET", f"/runs?pipeline_config_id={pipeline_id}&sha={sha}"))["items"]
    return runs[0] if runs else None


async def _finished(api: Api, run_id: int) -> dict[str, Any] | None:
    run: dict[str, Any] = await api.call("GET", f"/runs/{run_id}")
    return run if run["finished_at"] else None


async def _until(
    check: Callable[[], Awaitable[dict[str, Any] | None]], seconds: float, what: str
) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    while True:
        found = await check()
        if found is not None:
            return found
        if time.monotonic() > deadline:
            raise DevstackError(
                f"{what} did not come within {seconds:.0f} s; the services' logs are in .towpath/logs"
            )
        await asyncio.sleep(0.05)


def _summary(ours: Installation, run: dict[str, Any], link: str, seconds: float) -> str:
    url = ours.stack.address()
    jobs = "\n".join(
        f"  {job['name']:<10} {job['status']:<8} {job['reason'] or '':<14} {_took(job)}".rstrip()
        for job in run["jobs"]
    )
    times = ", ".join(f"{what} {run[f'{what}_at']}" for what in ("created", "started", "finished"))
    return f"""
run {run["id"]} is {run["status"]}: {times} ({_took(run)})
{jobs}

Towpath runs; the whole demo took {seconds:.1f} s.
  API            {url}
  its docs       {url}/docs
  this run       {link}
                 (opens the dashboard signed in; works once, within 10 minutes)

To try next:
  . .towpath/env                         # an administrator's token for this shell
  {f".venv/bin/towpath runs show {run['id']}":<38} # what the run did, and why
  .venv/bin/towpath --help               # pipelines, events, deliveries …
  curl -sH "Authorization: Bearer $TOWPATH_TOKEN" $TOWPATH_URL/runs/{run["id"]}/logs
  make demo                              # another push
  make down                              # stop everything, jobs too; data stays in .towpath"""


def _took(record: dict[str, Any]) -> str:
    if not record["started_at"] or not record["finished_at"]:
        return ""
    started_at, finished_at = (datetime.fromisoformat(record[name]) for name in ("started_at", "finished_at"))
    return f"{(finished_at - started_at).total_seconds():.2f} s"
