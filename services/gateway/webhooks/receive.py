"""Receives webhooks: verifies the signature over the raw body, stores the delivery, and then answers.

The body is not parsed before the signature is verified, and nothing in it selects a secret. At
`/webhooks/{forge}` the forge-wide secrets are valid. At `/webhooks/{forge}/{hook_key}` only that repository's
own secret is valid.

1. `_accept` checks the headers, reads the body and verifies its signature.
2. Under a hook key, a body that names another repository is refused with 403.
3. A ping is answered with 200. Other deliveries get a trace, or continue that of the request, are compressed,
   and are passed to `Acceptance`.
4. The answer is 202 after the delivery is durable, or 200 if it is a duplicate.

Failures:
- The signature is missing or wrong, or the hook key is unknown: 401, with the same answer for every reason.
- Neither Postgres nor the fallback queue accepts the delivery: 503. The forge shows the delivery as failed.
- The secrets of repositories are not loaded yet: 503 under a hook key.

All webhook load passes through this module, so it uses no models and no middleware, and reads the body once.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import ParamSpec, TypeVar

import orjson
from aiohttp import web
from multidict import CIMultiDictProxy
from prometheus_client import Counter

from services.gateway.http.problems import Problem, unavailable
from services.gateway.settings import GatewaySettings
from services.gateway.webhooks.acceptance import Acceptance, Kept, Refused, Unavailable
from services.gateway.webhooks.body_memory import BodyMemory
from services.gateway.webhooks.deliveries import LARGE_BYTES, Delivery, Envelope, sealed
from services.gateway.webhooks.hook_secrets import Hook, HookSecrets
from services.gateway.webhooks.intake import (
    SINGLE,
    BodyLimits,
    check_encoding,
    check_single,
    read_body,
    too_large,
)
from services.gateway.webhooks.payloads import payload_bytes, speaks_for_another
from services.gateway.webhooks.signatures import claimed_signature, is_signed
from shared import forms
from shared.tracing import continued, traced

P = ParamSpec("P")
T = TypeVar("T")
_refused = Counter(
    "towpath_webhooks_refused_total", "Webhooks refused before anything was stored", ["source", "status"]
)

_CONTENT_TYPES = ("application/json", forms.CONTENT_TYPE)
_LONGEST_NAME = 200


@dataclass(frozen=True)
class Forge:
    """The names of the headers of a forge's webhooks."""

    name: str
    event: str
    delivery: str
    plain_signature: str | None
    kept: tuple[str, ...]
    """Headers stored with the delivery for the scheduler."""


_KEPT = ("Content-Type", "User-Agent")
FORGES = {
    "github": Forge(
        "github",
        "X-GitHub-Event",
        "X-GitHub-Delivery",
        None,
        (
            "X-GitHub-Event",
            "X-GitHub-Delivery",
            "X-GitHub-Hook-ID",
            "X-GitHub-Hook-Installation-Target-Type",
            "X-GitHub-Hook-Installation-Target-ID",
            *_KEPT,
        ),
    ),
    "gitea": Forge(
        "gitea",
        "X-Gitea-Event",
        "X-Gitea-Delivery",
        "X-Gitea-Signature",
        ("X-Gitea-Event", "X-Gitea-Event-Type", "X-Gitea-Delivery", *_KEPT),
    ),
}


def _unsigned() -> Problem:
    """Return the same 401 for every reason, including an unknown hook key."""
    return Problem(401, "signature_invalid", "The signature is missing or wrong.")


class Webhooks:
    """The request handlers of all forges' webhooks."""

    def __init__(
        self, settings: GatewaySettings, acceptance: Acceptance, hook_secrets: HookSecrets, memory: BodyMemory
    ) -> None:
        self._settings = settings
        self._acceptance = acceptance
        self._hook_secrets = hook_secrets
        self._memory = memory
        self._body_limits = BodyLimits(
            size_bytes=settings.webhook_body_bytes,
            seconds=settings.body_seconds,
            bytes_per_second=settings.body_bytes_per_second,
        )
        self._form_limits = replace(
            self._body_limits, size_bytes=forms.largest_form(settings.webhook_body_bytes)
        )
        self._secrets = {name: settings.webhook_secrets(name) for name in FORGES}

    async def forge_wide(self, request: web.Request, forge: Forge) -> web.Response:
        return await self._answer(request, forge, None)

    async def of_repository(self, request: web.Request, forge: Forge) -> web.Response:
        return await self._answer(request, forge, request.match_info["hook_key"])

    async def _answer(self, request: web.Request, forge: Forge, hook_key: str | None) -> web.Response:
        try:
            return await self._accept(request, forge, hook_key)
        except Problem as problem:
            _refused.labels(forge.name, problem.status).inc()
            return problem.response()

    async def _accept(self, request: web.Request, forge: Forge, hook_key: str | None) -> web.Response:
        hook, secrets = self._secrets_for(forge, hook_key)
        headers = request.headers
        check_single(request, (*SINGLE, *forge.kept))
        check_encoding(request)
        if request.content_type not in _CONTENT_TYPES:
            raise Problem(
                415,
                "content_type",
                f"Webhooks are {' or '.join(_CONTENT_TYPES)}.",
                headers={"Accept": ", ".join(_CONTENT_TYPES)},
            )
        plain = headers.getall(forge.plain_signature, []) if forge.plain_signature else []
        signature = claimed_signature(plain, headers.getall("X-Hub-Signature-256", []))
        if signature is None or not secrets:
            raise _unsigned()
        with self._memory.share(request.remote or "") as share:
            is_form = request.content_type == forms.CONTENT_TYPE
            body = await read_body(request, share, self._form_limits if is_form else self._body_limits)
            if not await _aside(body, is_signed, body, signature, secrets):
                raise _unsigned()
            if await _aside(body, payload_bytes, body, request.content_type) > self._body_limits.size_bytes:
                raise too_large(self._body_limits.size_bytes)
            if hook is not None and await _aside(body, speaks_for_another, body, request.content_type, hook):
                raise Problem(403, "other_repository", "This hook speaks for another repository.")
            envelope = _envelope(headers, forge, hook_key)
            if envelope.event_type == "ping":
                return _json(200, {"status": "pong"})
            return await self._keep(await _aside(body, sealed, envelope, body))

    def _secrets_for(self, forge: Forge, hook_key: str | None) -> tuple[Hook | None, tuple[bytes, ...]]:
        if hook_key is None:
            return None, self._secrets[forge.name]
        if not self._hook_secrets.is_loaded:
            raise unavailable("The secrets of repositories are not known yet. Nothing was stored; try again.")
        hook = self._hook_secrets.hook(forge.name, hook_key)
        return hook, (hook.secret,)

    async def _keep(self, delivery: Delivery) -> web.Response:
        try:
            with traced(delivery.traceparent):
                kept = await self._acceptance.accept(delivery)
        except Unavailable as error:
            raise unavailable(
                "Neither the record nor the inlet took it. Nothing was stored; try again."
            ) from error
        except Refused as error:
            raise Problem(422, "delivery_refused", "The record does not take this delivery.") from error
        return _answered(kept)


def _answered(kept: Kept) -> web.Response:
    if kept.is_duplicate:
        return _json(200, {"delivery_id": kept.delivery_id, "status": "duplicate"})
    return _json(202, {"delivery_id": kept.delivery_id, "status": "accepted"})


def _json(status: int, document: Mapping[str, str]) -> web.Response:
    return web.Response(status=status, body=orjson.dumps(document), content_type="application/json")


async def _aside(body: bytes, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `work`, in a thread if the body is large."""
    if len(body) < LARGE_BYTES:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


def _envelope(headers: CIMultiDictProxy[str], forge: Forge, hook_key: str | None) -> Envelope:
    return Envelope(
        source=forge.name,
        delivery_id=_needed(headers, forge.delivery),
        event_type=_needed(headers, forge.event),
        headers={
            name.lower(): _printable(value) for name in forge.kept if (value := headers.get(name)) is not None
        },
        hook_key=hook_key,
        received_at=datetime.now(UTC),
        traceparent=continued(headers.getall("traceparent", ())),
    )


def _needed(headers: Mapping[str, str], name: str) -> str:
    """Return the header, or raise 400 if it is missing, too long, or has spaces or non-ASCII characters.

    The limit is `_LONGEST_NAME` characters. Unprintable characters are refused as well.
    """
    value = headers.get(name, "")
    if (
        not value
        or len(value) > _LONGEST_NAME
        or not value.isascii()
        or not value.isprintable()
        or " " in value
    ):
        raise Problem(
            400,
            "header_needed",
            f"The header {name} is needed: 1 to {_LONGEST_NAME} printable characters without spaces.",
        )
    return value


def _printable(value: str) -> str:
    return value.encode("ascii", "replace").decode()[:500]
