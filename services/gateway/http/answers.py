"""Builds the answers of the API: models as JSON, and pages of lists."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Annotated, Any, Generic, Self, TypeVar

from aiohttp import web
from pydantic import BaseModel, Field

from services.gateway.http.etags import allows, etag_of
from services.gateway.http.fields import Filters, QueryNumber
from services.gateway.http.paging import CURSOR_PATTERN, ForeignCursor, id_before, split_page
from services.gateway.http.problems import Problem
from services.gateway.http.routing import Call


class View(BaseModel):
    """The base of all models of answers."""

    @classmethod
    def of(cls, row: Any, **more: Any) -> Self:
        """Create the model from a row of the database, or from any other mapping."""
        return cls.model_validate({**row, **more})


V = TypeVar("V", bound=View)


class Page(BaseModel, Generic[V]):
    """A page of items, the newest first."""

    items: list[V]
    next_cursor: str | None = Field(
        description="For the parameter `cursor` of the next request with the same filters; null: this was "
        "all."
    )


class PageFilters(Filters):
    """The query parameters of every list."""

    limit: Annotated[int, Field(ge=1, le=200), QueryNumber] = 50
    cursor: str | None = Field(
        None,
        json_schema_extra={
            "pattern": CURSOR_PATTERN
        },  # documented, not checked: every foreign cursor is a 400
        description="The `next_cursor` of the page before. Other filters than that page's: 400.",
    )


def json_answer(
    model: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(
        status=status, body=model.model_dump_json().encode(), content_type="application/json", headers=headers
    )


def no_content() -> web.Response:
    return web.Response(status=204)


def check_version(call: Call[Any, Any], what: str, version: int) -> None:
    """Raise Problem 412 if the header If-Match names another version than the current one."""
    if not allows(call.request.headers.get("If-Match"), version):
        raise Problem(
            412, "stale", f"The {what} has changed since this version.", headers={"ETag": etag_of(version)}
        )


ReadPage = Callable[[int, int], Awaitable[Sequence[Any]]]
"""Reads rows with an id below the first argument, the newest first. The second argument is the limit."""


async def paged(
    call: Call[Any, Any], view: type[V], read: ReadPage, shown: Callable[[Any], V] | None = None
) -> web.Response:
    """Return a page of a list.

    `shown` converts a row to a view if its columns alone are not enough. The cursor is valid only for this
    path, caller and filters. Raises Problem 400 for a foreign cursor.
    """
    query: PageFilters = call.query
    narrowed = query.model_dump(mode="json", exclude={"limit", "cursor"})
    filters = {
        "path": call.request.path,
        "caller": call.caller.user_id,
        "all": call.caller.is_admin,
        **narrowed,
    }
    try:
        before = id_before(query.cursor, filters)
    except ForeignCursor as error:
        raise Problem(
            400, "foreign_cursor", "This cursor was not given out for this list with these filters."
        ) from error
    rows, next_cursor = split_page(await read(before, query.limit + 1), query.limit, filters)
    items = [(shown or view.of)(row) for row in rows]
    page = Page[view]  # type: ignore[valid-type]  # the view is known at run time only
    return json_answer(page(items=items, next_cursor=next_cursor))
