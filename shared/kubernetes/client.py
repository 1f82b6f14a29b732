"""A client of the Kubernetes API over HTTP, with objects as dicts, for the services that talk to a cluster.

It is the only module that imports the Kubernetes library. It does not use the library's models: on lists they
take nine times as long and 188 MB. It retries nothing. If the answer to a request was lost, the caller must
check whether the request took effect.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

import aiohttp
import orjson
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from shared.errors import Transient

Object = dict[str, Any]
"""An object as the API sends and accepts it."""

_PATCH_TYPES = {
    "merge": "application/merge-patch+json",
    "strategic": "application/strategic-merge-patch+json",
    "json": "application/json-patch+json",
}
_RETRY_AFTER_LIMIT_SECONDS = 300.0
_PIECE_BYTES = 256 * 1024
"""The most that is read at once from a stream. Without this limit a connection may buffer megabytes."""


class ClusterUnusable(Exception):
    """The configuration of the cluster cannot be read. The message names it."""


class ApiError(Exception):
    """The API server understood the request and refused it."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        """The reason in the Status object: NotFound, AlreadyExists, Forbidden, Invalid, and so on.

        Empty if the answer has none.
        """
        self.message = message


class ApiUnavailable(Transient):
    """The API server did not answer, or answered 429 or 5xx. A write may have taken effect."""

    def __init__(
        self, message: str, *, status: int | None = None, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(f"Kubernetes API: {message}")
        self.status = status
        self.retry_after_seconds = retry_after_seconds


class KubernetesApi:
    """One cluster. Safe for concurrent use. All methods raise ApiError and ApiUnavailable."""

    def __init__(self, client: ApiClient, *, request_seconds: float) -> None:
        self._client = client
        self._configuration = client.configuration
        self._seconds = request_seconds

    async def get(self, path: str, **query: object) -> Object:
        return await self._call("GET", path, None, query)

    async def post(self, path: str, body: Object, **query: object) -> Object:
        return await self._call("POST", path, body, query)

    async def patch(
        self,
        path: str,
        body: Object | list[Object],
        *,
        kind: Literal["merge", "strategic", "json"] = "merge",
        **query: object,
    ) -> Object:
        return await self._call("PATCH", path, body, query, content_type=_PATCH_TYPES[kind])

    async def delete(self, path: str, body: Object | None = None, **query: object) -> Object:
        """Delete an object. `body` is a DeleteOptions.

        Always name a propagation policy for objects that own others.
        """
        return await self._call("DELETE", path, body, query)

    @asynccontextmanager
    async def stream(
        self, path: str, *, idle_seconds: float | None, **query: object
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Yield the bytes of an endless answer (a watch, a log) as they arrive, at most 256 KiB at once.

        `idle_seconds` is the longest time without data (None: no limit). The iterator ends when the answer
        ends. If the connection is cut before, it raises ApiUnavailable.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=self._seconds, sock_read=idle_seconds)
        try:
            response = await self._send("GET", path, None, query, limits=limits)
            try:
                if response.status != 200:
                    raise _refusal(response, await response.read())
                yield response.content.iter_chunked(_PIECE_BYTES)
            finally:
                response.close()
        except (aiohttp.ClientError, TimeoutError, ssl.SSLError, OSError) as error:
            raise ApiUnavailable(_words(error)) from error

    async def _call(
        self,
        method: str,
        path: str,
        body: object,
        query: dict[str, object],
        content_type: str = "application/json",
    ) -> Object:
        limits = aiohttp.ClientTimeout(total=self._seconds)
        try:
            response = await self._send(method, path, body, query, limits=limits, content_type=content_type)
            answer = await response.read()
        except (aiohttp.ClientError, TimeoutError, ssl.SSLError, OSError) as error:
            raise ApiUnavailable(f"{method} {path}: {_words(error)}") from error
        if response.status >= 300:
            raise _refusal(response, answer)
        try:
            parsed = orjson.loads(answer)
        except orjson.JSONDecodeError as error:
            raise ApiUnavailable(
                f"{method} {path}: an answer that is no JSON", status=response.status
            ) from error
        return parsed if isinstance(parsed, dict) else {}

    async def _send(  # noqa: PLR0913 - what an HTTP request consists of
        self,
        method: str,
        path: str,
        body: object,
        query: dict[str, object],
        *,
        limits: aiohttp.ClientTimeout,
        content_type: str = "application/json",
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json", "Content-Type": content_type, "User-Agent": "towpath"}
        # Reads the service account's token again, because it rotates.
        for setting in (await self._configuration.auth_settings()).values():
            headers[setting["key"]] = str(setting["value"])
        url = self._configuration.host + path + (f"?{urlencode(_texts(query))}" if query else "")
        answer = await self._client.rest_client.request(
            method, url, headers=headers, body=body, _request_timeout=limits
        )
        response: aiohttp.ClientResponse = answer.response
        return response


@asynccontextmanager
async def open_kubernetes(
    kubeconfig: Path | None, *, request_seconds: float = 30
) -> AsyncIterator[KubernetesApi]:
    """Open the cluster of this kubeconfig's current context, or of the pod's service account if it is None.

    Raises ClusterUnusable.
    """
    configuration = Configuration()
    try:
        if kubeconfig is None:
            load_incluster_config(client_configuration=configuration)
        else:
            await load_kube_config(
                config_file=str(kubeconfig), client_configuration=configuration, persist_config=False
            )
    except (ConfigException, OSError, ValueError, KeyError, TypeError) as error:
        where = "the service account of this pod" if kubeconfig is None else str(kubeconfig)
        raise ClusterUnusable(f"{where} does not say how to reach a cluster: {error}") from error
    # No limit: each followed log holds a connection, and the code that follows logs limits their number.
    configuration.connection_pool_maxsize = 0
    configuration.retries = None
    # The kubeconfig names the proxy if one is needed.
    configuration.client_session_kwargs = {"trust_env": False}
    async with ApiClient(configuration) as client:
        yield KubernetesApi(client, request_seconds=request_seconds)


def _refusal(response: aiohttp.ClientResponse, answer: bytes) -> ApiError | ApiUnavailable:
    try:
        status = orjson.loads(answer)
    except orjson.JSONDecodeError:
        status = {}
    status = status if isinstance(status, dict) else {}
    message = str(status.get("message") or answer[:500].decode("utf-8", "replace") or response.reason)
    if response.status == 429 or response.status >= 500:
        return ApiUnavailable(
            f"{response.status} {message}", status=response.status, retry_after_seconds=_retry_after(response)
        )
    return ApiError(response.status, str(status.get("reason") or ""), message)


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    text = response.headers.get("Retry-After", "")
    return min(float(text), _RETRY_AFTER_LIMIT_SECONDS) if text.isdecimal() and len(text) < 10 else None


def _texts(query: dict[str, object]) -> dict[str, str]:
    """Return the parameters as text: `true` instead of `True`, and no parameter whose value is None."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in query.items()
        if value is not None
    }


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__
