"""Signing in and out.

A person signs in with an API token, or with a link that works once. The link's secret is in the fragment of
its address, which browsers send to no server: a script sends it in one POST. Each sign-in makes a new session
and ends the browser's earlier one.
"""

import secrets

from aiohttp import web

from services.gateway.http.problems import Problem, not_found
from services.gateway.store.sessions import SESSION_DAYS
from services.gateway.web.pages import COOKIE, LOGIN, Page, Visit, is_own_path, see_other
from shared.crypto import hash_secret, hash_token, token_is_wellformed

HOME = "/ui/"
_USED = "This link was used before, or is too old. Ask for another."
_WRONG = "This token is not known, or no longer valid."


def _next(path: str | None) -> str:
    return path if path and is_own_path(path) and not path.startswith((LOGIN, "/ui/link")) else HOME


async def login_page(visit: Visit) -> web.Response:
    return visit.page("login.html", next=_next(visit.query.get("next")), error="")


async def login(visit: Visit) -> web.Response:
    token, onward = visit.form.get("token", "").strip(), _next(visit.form.get("next"))
    caller = None
    if token_is_wellformed(token):
        async with visit.gateway.store.reading() as work:
            caller = await work.caller(hash_token(token))
    if caller is None:
        return visit.page("login.html", 422, next=onward, error=_WRONG)
    return await _signed_in(visit, caller.token_id, caller.user_id, onward)


async def link_page(visit: Visit) -> web.Response:
    return visit.page("link.html", error="")


async def use_link(visit: Visit) -> web.Response:
    secret = visit.form.get("secret", "").strip()
    async with visit.gateway.store.transaction() as work:
        link = await work.take_sign_in_link(hash_secret(secret))
    if link is None:
        return visit.page("link.html", 422, error=_USED)
    return await _signed_in(visit, link["token_id"], link["user_id"], _next(link["path"]))


async def _signed_in(visit: Visit, token_id: int, user_id: int, onward: str) -> web.Response:
    """Create a session, end the browser's earlier one, and lead to the page."""
    secret = secrets.token_urlsafe(32)
    browser = "".join(filter(str.isprintable, visit.request.headers.get("User-Agent", "")))[:200]
    async with visit.gateway.store.transaction() as work:
        if visit.session is not None:
            await work.end_session(visit.session.id, visit.session.caller.user_id)
        session_id = await work.insert_session(hash_secret(secret), token_id, browser)
        await work.audit(user_id, "session.created", f"session:{session_id}", {"token": token_id})
    response = see_other(onward)
    response.set_cookie(
        COOKIE,
        secret,
        path="/ui",
        max_age=SESSION_DAYS * 86400,
        httponly=True,
        samesite="Lax",
        secure=_is_behind_https(visit),
    )
    return response


def _is_behind_https(visit: Visit) -> bool:
    return visit.request.secure or visit.gateway.settings.public_url.startswith("https://")


async def logout(visit: Visit) -> web.Response:
    if visit.session is None:
        raise RuntimeError("only a session can be ended")
    await _end(visit, visit.session.id)
    response = see_other(LOGIN)
    response.del_cookie(COOKIE, path="/ui")
    return response


async def _end(visit: Visit, session_id: int) -> None:
    """End a session of this user. Raises Problem 404."""
    async with visit.gateway.store.transaction() as work:
        if not await work.end_session(session_id, visit.caller.user_id):
            raise not_found()
        await work.audit(visit.caller.user_id, "session.ended", f"session:{session_id}")


async def unknown(_visit: Visit) -> web.Response:
    raise Problem(404, "not_found", "There is no such page.")


PAGES = (
    Page(path=LOGIN, handler=login_page, is_open=True),
    Page(path=LOGIN, handler=login, method="POST", is_open=True),
    Page(path="/ui/link", handler=link_page, is_open=True),
    Page(path="/ui/link", handler=use_link, method="POST", is_open=True),
    Page(path="/ui/logout", handler=logout, method="POST"),
)
