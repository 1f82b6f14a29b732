"""Prepares an installation for the attacks: two tenants to be measured, and an attacker with an account."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import count
from typing import Any

from bench.pushes import Series
from bench.sending import send_one
from bench.store import Wanted
from bench.towpath_stack import Running, pipeline
from tests.attack.attackers import Order
from tests.attack.payloads import LONG_BRANCH, costly_trigger
from tests.harness.client import Client

PIPELINES = 200
"""The quota of pipelines of one user."""
FORGE_IDS = {"webhooks": 201, "runs": 202, "attacker": 203}
LASTING = "sleep 600"
"""A job whose log stays open during all attacks. It ends with the stack."""
ADDRESSES: Mapping[str, tuple[str, ...]] = {"X4": ("127.0.0.1", "127.0.0.2")}
"""The loopback addresses of the attackers' processes.

X4 also attacks from the address of the tenants: a limit for each address must not delay other clients behind
the same proxy.
"""
USUAL_ADDRESSES = ("127.0.0.2", "127.0.0.3")


@dataclass
class Installation:
    """A running Towpath with its tenants."""

    running: Running
    admin: Client
    reader: Client
    """The attacker, with a read-only token."""
    log_path: str = ""
    """A live log that the attacker may read."""
    _pushed: Iterator[int] = field(default_factory=lambda: count(1))

    @cached_property
    def webhooks(self) -> Series:
        """The pushes of the second client, whose repository has no pipeline."""
        return self.series("webhooks")

    @cached_property
    def runs(self) -> Series:
        """The pushes of the other tenant, each of which starts a run."""
        return self.series("runs")

    def series(self, name: str, branch: str = "main") -> Series:
        repository = f"bench/{name}"
        return Series(
            repository, FORGE_IDS[name], self.running.secret, seed=f"attack {name} {branch}", branch=branch
        )

    def orders(self, attack: str, seconds: float) -> list[Order]:
        """Return an order for each attacking process."""
        path = self.log_path if attack == "X8" else ""
        series = asdict(self.series("attacker", LONG_BRANCH)) if attack == "X5" else None
        port, token = self.running.stack.port("gateway"), self.reader.token or ""
        return [
            Order(attack, port, seconds, address, token, path, series, first=1_000_000 * number)
            for number, address in enumerate(ADDRESSES.get(attack, USUAL_ADDRESSES))
        ]

    async def settled(self, seconds: float) -> None:
        """Wait until every accepted webhook is decided."""
        wanted = Wanted(
            "deciding", "waiting_deliveries", lambda row: not row["undecided"], seconds, poll_seconds=0.05
        )
        await self.running.watch.until(wanted)


async def prepare(running: Running) -> Installation:
    admin = Client(running.session, running.stack.address(), _token_of(running))
    await running.register("webhooks", FORGE_IDS["webhooks"])
    tenant = await person(admin, "tenant", ("read", "write"))
    await _register(admin, tenant, "runs", pipeline("bench/runs", "true"))
    attacker = await person(admin, "attacker", ("read", "write"))
    await _register(admin, attacker, "attacker", pipeline("bench/attacker", LASTING))
    reader = await _token(admin, attacker[0], ("read",))
    installation = Installation(running, admin, reader)
    await _open_log(installation)
    await _costly_pipelines(attacker[1])
    return installation


def _token_of(running: Running) -> str:
    return running.session.headers["Authorization"].removeprefix("Bearer ")


async def person(admin: Client, name: str, scopes: tuple[str, ...]) -> tuple[int, Client]:
    """Create a user and return their id and a client with a token of these scopes."""
    user = (await admin.post("/users", {"name": name, "email": f"{name}@example.org"})).expect(201).json
    return user["id"], await _token(admin, user["id"], scopes)


async def _token(admin: Client, user_id: int, scopes: tuple[str, ...]) -> Client:
    body = {"name": "attack", "scopes": list(scopes), "user_id": user_id}
    return admin.as_((await admin.post("/tokens", body)).expect(201).json["token"])


async def _register(admin: Client, owner: tuple[int, Client], name: str, text: str) -> None:
    """Register a repository, make this user its maintainer, and save a pipeline of theirs for it."""
    clone_url = f"https://github.com/bench/{name}.git"
    body: dict[str, Any] = {"full_name": f"bench/{name}", "forge": "github", "forge_id": FORGE_IDS[name]}
    record = (await admin.post("/repositories", body | {"clone_url": clone_url})).expect(201).json
    await admin.put(f"/repositories/{record['id']}/grants/{owner[0]}", {"role": "maintainer"})
    (await owner[1].post("/pipelines", {"name": name, "yaml_config": text})).expect(201)


async def _costly_pipelines(owner: Client) -> None:
    """Create as many costly pipelines as the attacker's quota still allows."""
    usual = pipeline("bench/attacker", "true")
    trigger = "push:\n    branches: [main]"
    assert trigger in usual

    async def some(numbers: Iterator[int]) -> None:
        for number in numbers:
            text = usual.replace(trigger, costly_trigger(number))
            (await owner.post("/pipelines", {"name": f"costly-{number}", "yaml_config": text})).expect(201)

    numbers = iter(range(PIPELINES - 1))
    await asyncio.gather(*(some(numbers) for _ in range(4)))


async def _open_log(installation: Installation) -> None:
    running, series = installation.running, installation.series("attacker")
    await send_one(running.session, running.hook, series, 0)
    begun = Wanted(
        "the attacker's job", "hello_run", lambda row: row["status"] == "running", 60, poll_seconds=0.05
    )
    await running.watch.until(begun, series.sha(0))
    row = await running.watch.one("stream_of_commit", series.sha(0))
    installation.log_path = f"/runs/{row['run_id']}/logs/stream"
