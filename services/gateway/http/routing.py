"""The data types that describe a route of the API.

Both the aiohttp handlers and the OpenAPI document are built from these values, so they cannot differ.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from aiohttp import web
from pydantic import BaseModel

from services.gateway.gateway import Gateway
from services.gateway.http.fields import Filters
from services.gateway.people import Caller, Scope

B = TypeVar("B")
Q = TypeVar("Q")


class NoFilters(Filters):
    """An empty query string."""


class NoBody(BaseModel):
    """A request without a body."""


@dataclass(frozen=True)
class Call(Generic[B, Q]):
    """A validated request: token, path, query and body are valid."""

    gateway: Gateway
    request: web.Request
    caller: Caller
    path: Mapping[str, Any]
    """The parameters of the path. Ids are integers."""
    body: B
    query: Q

    @property
    def id(self) -> int:
        """Return the parameter `{id}` of the path."""
        return int(self.path["id"])


Handler = Callable[[Any], Awaitable[web.StreamResponse]]
Direct = Callable[[Gateway, web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Answer:
    """A successful answer, as the OpenAPI document describes it."""

    description: str
    model: Any = None
    """The model of the JSON body. None if there is no JSON body."""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    """Descriptions of headers by name."""


@dataclass(frozen=True)
class HeaderParameter:
    """A request header that the route uses."""

    name: str
    description: str
    pattern: str = ""
    """A regular expression for the value. If empty, any text is allowed."""
    is_required: bool = False


@dataclass(frozen=True, kw_only=True)
class Route:
    """One method of one path.

    Exactly one of `handler` and `direct` is given. `handler` gets a validated `Call`, `direct` the raw
    request.
    """

    method: str
    path: str
    summary: str
    answers: Mapping[int, Answer]
    handler: Handler | None = None
    direct: Direct | None = None
    scope: Scope | None = Scope.READ
    """The scope that the token must have. None if no token is needed."""
    body: type[BaseModel] | None = None
    is_body_optional: bool = False
    body_bytes: int = 64 << 10
    """The maximum size of the body in bytes.

    Reading a larger body with an error in each of its fields would delay other requests.
    """
    query: type[Filters] = NoFilters
    headers: tuple[HeaderParameter, ...] = ()
    problems: frozenset[int] = frozenset()
    """Additional error statuses, besides those that follow from the other fields."""
    is_streaming: bool = False
    """True if the answer is written in parts. Such a route does not support HEAD."""

    @property
    def tag(self) -> str:
        return self.path.split("/")[1]

    @property
    def parameters(self) -> list[str]:
        """Return the names of the parameters in the path."""
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]

    def problem_statuses(self) -> frozenset[int]:
        """Return every error status that this route may answer."""
        statuses = set(self.problems)
        if self.scope is not None:
            statuses |= {401, 403, 422, 503}
        if self.parameters:
            statuses.add(404)
        if self.body is not None:
            statuses |= {400, 408, 413, 415, 422, 503}
        if "cursor" in self.query.model_fields:
            statuses.add(400)
        return frozenset(statuses)


IF_MATCH = HeaderParameter("If-Match", "Change only this version: the ETag of a GET. Another version is 412.")
IDEMPOTENCY_KEY = HeaderParameter(
    "Idempotency-Key",
    "Repeating the request with the same key repeats the answer, not the command.",
    "^[!-~]{1,200}$",
)
LAST_EVENT_ID = HeaderParameter(
    "Last-Event-ID",
    "Go on after this event: its id.",
    r"^([0-9]{1,18}:[0-9]{1,18}(,[0-9]{1,18}:[0-9]{1,18})*)?$",
)
ETAG = {"ETag": "The version, for If-Match."}
LOCATION = {"Location": "Where the result is."}
