"""The gateway: accepts webhooks, stores them durably, and serves the HTTP API.

It is the only writer of users, tokens, repositories, grants, pipelines, deliveries and commands. Several
replicas may run at once, and each may be killed at any moment without losing an accepted webhook.
"""

import asyncio
from functools import partial

from services.gateway.gateway import build_gateway
from services.gateway.http.app import build_app
from services.gateway.http.connections import connection_limits
from services.gateway.http.listener import ListenerSite
from services.gateway.http.unparsed import Runner
from services.gateway.settings import GatewaySettings
from shared.database.store import open_database
from shared.logconfig import configure_logging
from shared.messaging.bus import open_bus
from shared.service import Service


async def main() -> None:
    settings = GatewaySettings()
    configure_logging(settings, "gateway")
    async with open_database(settings) as database, open_bus(settings, "gateway") as bus:
        gateway = build_gateway(settings, database, bus)
        runner = partial(Runner, limits=connection_limits(settings))
        async with Service("gateway", settings, build_app(gateway), runner, ListenerSite) as service:
            for task in gateway.tasks:
                service.keep_running(task)
            service.ready_when("postgres_or_inlet", gateway.acceptance.can_accept)
            await service.until_signalled()


if __name__ == "__main__":
    asyncio.run(main())
