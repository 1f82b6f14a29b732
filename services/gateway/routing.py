"""What a route of the API is.

From these values come both what aiohttp serves and the OpenAPI document, so the two cannot differ.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from aiohttp import web
from pydantic import BaseModel

from services.gateway.fields import Filters
from services.gateway.gateway import Gateway
from services.gateway.people import Caller, Scope

B = TypeVar("B")
Q = TypeVar("Q")


class NoFilters(Filters):
    """A query string that has to be empty."""


class NoBody(BaseModel):
    """A request without a body."""


@dataclass(frozen=True)
class Call(Generic[B, Q]):
    """A request that is understood: its token belongs to the caller, its path, query and body are valid."""

    gateway: Gateway
    request: web.Request
    caller: Caller
    path: Mapping[str, Any]
    """Its parameters; ids are numbers."""
    body: B
    query: Q

    @property
    def id(self) -> int:
        """The `{id}` of the path."""
        return int(self.path["id"])


Handler = Callable[[Any], Awaitable[web.StreamResponse]]
Direct = Callable[[Gateway, web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Answer:
    """A good answer, as the document tells it."""

    description: str
    model: Any = None
    """The JSON's shape; None where the content is something else."""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    """Name and description."""


@dataclass(frozen=True)
class HeaderParameter:
    """A request header that means something."""

    name: str
    description: str
    pattern: str = ""
    """What it looks like; empty: any text."""
    is_required: bool = False


@dataclass(frozen=True, kw_only=True)
class Route:
    """One method of one path.

    Exactly one of `handler` (a Call comes to it) and `direct` (the bare request does) is given.
    """

    method: str
    path: str
    summary: str
    answers: Mapping[int, Answer]
    handler: Handler | None = None
    direct: Direct | None = None
    scope: Scope | None = Scope.READ
    """What the token must allow; None: no token is needed."""
    body: type[BaseModel] | None = None
    is_body_optional: bool = False
    body_bytes: int = 64 << 10
    """The body's limit.

    Reading a larger one, with a mistake in each of its fields, would hold up other requests.
    """
    query: type[Filters] = NoFilters
    headers: tuple[HeaderParameter, ...] = ()
    problems: frozenset[int] = frozenset()
    """Beyond those that follow from the route's shape."""
    is_streaming: bool = False
    """Its answer is written bit by bit: it is not offered for HEAD."""

    @property
    def tag(self) -> str:
        return self.path.split("/")[1]

    @property
    def parameters(self) -> list[str]:
        """The names in the path."""
        return [part[1:-1] for part in self.path.split("/") if part.startswith("{")]

    def problem_statuses(self) -> frozenset[int]:
        """Every error that this route may answer."""
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
