"""Problem details (RFC 9457), the format of every error that the gateway returns."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

CONTENT_TYPE = "application/problem+json"
FAULT_LIMIT = 100


class Fault(BaseModel):
    """One error and its location: line and column in a pipeline, `path` in a request."""

    model_config = ConfigDict(title="Fault")

    path: str = Field(
        description="Where: `jobs.test.steps[0].run` in a pipeline; `body.name`, `query.limit` in a request."
    )
    code: str = Field(description="For programs; never changes its meaning.")
    message: str
    hint: str | None = None
    line: int | None = None
    column: int | None = None


class ProblemDetails(BaseModel):
    """An error, for people and programs."""

    type: str = Field(description="`urn:towpath:problem:<code>`")
    title: str
    status: int
    detail: str
    errors: list[Fault] = Field(default_factory=list)


class Problem(Exception):
    """An error answer. Raising it ends the request."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        errors: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})

    def response(self) -> web.Response:
        title = HTTPStatus(self.status).phrase
        details = ProblemDetails(
            type=f"urn:towpath:problem:{self.code}",
            title=title,
            status=self.status,
            detail=self.detail,
            errors=self.errors,
        )
        return web.Response(
            status=self.status,
            body=details.model_dump_json().encode(),
            content_type=CONTENT_TYPE,
            headers=self.headers,
        )

    def raw(self) -> bytes:
        """Return the complete HTTP response as bytes, for a connection that is closed after it."""
        answer = self.response()
        body = answer.body
        assert isinstance(body, bytes)  # noqa: S101 - made in `response`
        fields = {
            "Content-Type": CONTENT_TYPE,
            "Content-Length": str(len(body)),
            "Connection": "close",
        } | self.headers
        lines = [f"{name}: {value}" for name, value in fields.items()]
        return "\r\n".join([f"HTTP/1.1 {self.status} {answer.reason}", *lines, "", ""]).encode() + body


def not_found() -> Problem:
    """Return a 404. It is also used for objects that the caller may not see."""
    return Problem(404, "not_found", "There is nothing here for you.")


def unauthorized(detail: str = "A valid token is needed: Authorization: Bearer tp_…") -> Problem:
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="towpath"'})


def forbidden(detail: str) -> Problem:
    return Problem(403, "forbidden", detail)


def unavailable(detail: str = "The record is away. Nothing was stored; try again.") -> Problem:
    return Problem(503, "unavailable", detail, headers={"Retry-After": "2"})


def conflict(code: str, detail: str) -> Problem:
    return Problem(409, code, detail)


def invalid(path: str, code: str, message: str) -> Problem:
    """Return a 422 for one invalid field of the request."""
    return Problem(
        422, "invalid", "The request is not valid.", errors=[Fault(path=path, code=code, message=message)]
    )


def faults_of(error: ValidationError, where: str) -> list[Fault]:
    """Convert pydantic's errors to faults. `where` is `body` or `query`.

    Values are never repeated, because they may be secrets. More than `FAULT_LIMIT` errors are counted, not
    listed: a body of 1 MiB can have 100,000.
    """
    if error.error_count() > FAULT_LIMIT:
        message = (
            f"{error.error_count()} parts of the {where} are wrong; they are listed where it is "
            f"{FAULT_LIMIT} at most"
        )
        return [Fault(path=where, code="too_many_faults", message=message)]
    return [
        _fault(found, where)
        for found in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _fault(found: Any, where: str) -> Fault:
    path = ".".join((where, *(str(part) for part in found["loc"])))
    return Fault(path=_printable(path), code=found["type"], message=_printable(found["msg"]))


def _printable(text: str) -> str:
    """Return at most 300 characters of the text, with characters that cannot be encoded replaced.

    Names of unknown fields come from the caller and must not break the encoding of the answer.
    """
    return text.encode("utf-8", "replace").decode()[:300]
