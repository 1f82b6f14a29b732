"""Sessions of the dashboard: cookie flags, CSRF, redirects, one-time links, and when a session ends."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from shared.crypto import hash_secret
from tests.integration.gateway.serving import Serving, make_settings, serving

SECRET = re.compile(r"towpath_session=([A-Za-z0-9_-]{43});")


@pytest.fixture(scope="module")
def served(shared_gateway: Serving) -> Serving:
    return shared_gateway


@dataclass
class Seen:
    status: int
    headers: dict[str, str]
    text: str
    cookie: str = ""


@dataclass
class Browser:
    """A browser without scripts: it keeps the cookie, and sends the headers that browsers send."""

    served: Serving
    secret: str = ""
    headers: dict[str, str] = field(default_factory=lambda: {"Sec-Fetch-Site": "same-origin"})

    async def go(self, method: str, path: str, form: dict[str, str] | None = None, **headers: str) -> Seen:
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.secret:
            sent["Cookie"] = f"towpath_session={self.secret}"
        url = self.served.url + path
        async with self.served.session.request(
            method, url, data=form, headers=sent, allow_redirects=False
        ) as answer:
            cookie = answer.headers.get("Set-Cookie", "")
            return Seen(answer.status, dict(answer.headers), await answer.text(), cookie)

    async def sign_in(self, token: str | None, **form: str) -> Seen:
        seen = await self.go("POST", "/ui/login", {"token": token or "", **form})
        if found := SECRET.match(seen.cookie):
            self.secret = found[1]
        return seen

    async def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([0-9a-f]{64})"', (await self.go("GET", "/ui/runs")).text)
        assert found
        return found[1]


async def signed_in(served: Serving) -> Browser:
    _, client = await served.person()
    browser = Browser(served)
    assert (await browser.sign_in(client.token)).status == 303
    return browser


async def test_pages_lead_to_the_sign_in_page_and_back(served: Serving) -> None:
    browser = Browser(served)
    asked = await browser.go("GET", "/ui/runs?branch=main")
    assert (asked.status, asked.headers["Location"]) == (303, "/ui/login?next=/ui/runs%3Fbranch%3Dmain")
    _, client = await served.person()
    answer = await browser.sign_in(client.token, next="/ui/runs?branch=main")
    assert (answer.status, answer.headers["Location"]) == (303, "/ui/runs?branch=main")
    assert (await browser.go("GET", "/ui/runs?branch=main")).status == 200
    for elsewhere in ("https://evil.example/", "//evil.example", "/ui/../x\\y", "/runs", "javascript:1"):
        other = await Browser(served).sign_in(client.token, next=elsewhere)
        assert other.headers["Location"] == "/ui/", elsewhere


async def test_the_cookie_has_its_flags_and_only_its_hash_is_stored(served: Serving) -> None:
    browser = await signed_in(served)
    _, client = await served.person()
    flags = (await Browser(served).sign_in(client.token)).cookie.split("; ")[1:]
    assert {"HttpOnly", "Path=/ui", "SameSite=Lax", "Max-Age=2592000"} <= set(flags)
    assert "Secure" not in flags
    rows = await served.rows("SELECT hash FROM web_sessions")
    assert all(browser.secret.encode() not in bytes(row["hash"]) and len(row["hash"]) == 32 for row in rows)


async def test_behind_https_the_cookie_is_sent_only_encrypted(
    database_url: str, amqp_url: str, tmp_path: Path
) -> None:
    settings = make_settings(database_url, amqp_url, tmp_path, public_url="https://ci.example.org")
    async with serving(settings, None) as served:
        seen = await Browser(served).sign_in(served.admin.token)
    assert "Secure" in seen.cookie.split("; ")


async def test_every_page_has_the_safe_headers(served: Serving) -> None:
    browser = await signed_in(served)
    for path in ("/ui/", "/ui/runs", "/ui/login", "/ui/link", "/ui/runs/999", "/ui/nowhere"):
        headers = (await browser.go("GET", path)).headers
        assert headers["Content-Security-Policy"].startswith("default-src 'self'; object-src 'none'"), path
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cache-Control"] == "no-store"


async def test_a_wrong_token_signs_nobody_in(served: Serving) -> None:
    for token in ("", "x", "tp_" + "a" * 36, "é" * 40):
        seen = await Browser(served).sign_in(token)
        assert (seen.status, seen.cookie) == (422, ""), token
        assert "no longer valid" in seen.text


async def test_signing_in_makes_a_new_session_and_ends_the_earlier_one(served: Serving) -> None:
    browser = await signed_in(served)
    before = browser.secret
    _, client = await served.person()
    await browser.sign_in(client.token)
    assert browser.secret != before
    assert (await Browser(served, before).go("GET", "/ui/")).status == 303
    chosen = Browser(served, "A" * 43)  # a secret that somebody else has set
    await chosen.sign_in(client.token)
    assert chosen.secret != "A" * 43
    assert (await Browser(served, "A" * 43).go("GET", "/ui/")).status == 303


async def test_a_change_needs_the_csrf_token_of_this_session(served: Serving) -> None:
    browser, other = await signed_in(served), await signed_in(served)
    for token in ("", "0" * 64, await other.csrf()):
        assert (await browser.go("POST", "/ui/logout", {"csrf": token})).status == 403
    assert (await browser.go("GET", "/ui/")).status == 200
    form = {"csrf": await browser.csrf()}
    assert (await browser.go("POST", "/ui/logout", form, Sec_Fetch_Site="cross-site")).status == 403
    assert (await browser.go("POST", "/ui/logout", form, Sec_Fetch_Site="same-site")).status == 403
    assert (await browser.go("POST", "/ui/logout", form, Sec_Fetch_Site="none")).status == 403
    browser.headers = {"Origin": "https://evil.example"}
    assert (await browser.go("POST", "/ui/logout", form)).status == 403
    browser.headers = {"Origin": served.url}
    assert (await browser.go("POST", "/ui/logout", form)).status == 303


async def test_another_site_cannot_sign_a_browser_in(served: Serving) -> None:
    _, client = await served.person()
    browser = Browser(served, headers={"Sec-Fetch-Site": "cross-site"})
    assert (await browser.sign_in(client.token)).status == 403


async def test_signing_out_ends_the_session(served: Serving) -> None:
    browser = await signed_in(served)
    answer = await browser.go("POST", "/ui/logout", {"csrf": await browser.csrf()})
    assert (answer.status, answer.headers["Location"]) == (303, "/ui/login")
    assert 'towpath_session=""' in answer.cookie
    assert (await browser.go("GET", "/ui/")).status == 303


async def test_the_audit_log_has_the_token_and_the_address_of_a_browser(served: Serving) -> None:
    user_id, client = await served.person()
    browser = Browser(served)
    await browser.sign_in(client.token)
    await browser.go("POST", "/ui/logout", {"csrf": await browser.csrf()})
    (entry,) = await served.rows(
        "SELECT token_id, address FROM audit_log WHERE user_id = $1 AND action = 'session.ended'", user_id
    )
    assert entry["token_id"] is not None
    assert entry["address"] == "127.0.0.1"


async def test_a_session_ends_with_its_token_and_its_user(served: Serving) -> None:
    user_id, client = await served.person()
    child = (await client.post("/tokens", {"name": "browser"})).expect(201).json
    one, two = Browser(served), Browser(served)
    await one.sign_in(child["token"])
    await two.sign_in(client.token)
    (await client.delete(f"/tokens/{child['id']}")).expect(204)
    assert (await one.go("GET", "/ui/")).status == 303
    assert (await two.go("GET", "/ui/")).status == 200
    (await served.admin.delete(f"/users/{user_id}")).expect(204)
    assert (await two.go("GET", "/ui/")).status == 303


async def test_a_session_ends_after_twelve_idle_hours_and_after_thirty_days(served: Serving) -> None:
    idle, old = await signed_in(served), await signed_in(served)
    await served.rows(
        "UPDATE web_sessions SET used_at = now() - interval '12 hours 1 second' WHERE hash = $1",
        hash_secret(idle.secret),
    )
    assert (await idle.go("GET", "/ui/")).status == 303
    assert (await old.go("GET", "/ui/")).status == 200
    statement = "UPDATE web_sessions SET expires_at = now() - interval '2 days' WHERE hash = ANY($1)"
    await served.rows(statement, [hash_secret(idle.secret), hash_secret(old.secret)])
    assert (await old.go("GET", "/ui/")).status == 303
    async with served.gateway.store.transaction() as work:
        assert await work.forget_sessions(500) == 2


async def test_a_link_signs_in_once_within_ten_minutes(served: Serving) -> None:
    _, client = await served.person()
    made = (await client.post("/sign-in-links", {"path": "/ui/runs"})).expect(201).json
    assert made["url"].startswith(f"{served.url}/ui/link#")
    secret = made["url"].partition("#")[2]
    assert not [
        row for row in await served.rows("SELECT hash FROM sign_in_links") if secret.encode() in row["hash"]
    ]
    answer = await Browser(served).go("POST", "/ui/link", {"secret": secret})
    assert (answer.status, answer.headers["Location"]) == (303, "/ui/runs")
    assert "towpath_session=" in answer.cookie
    assert (await Browser(served).go("POST", "/ui/link", {"secret": secret})).status == 422
    late = (await client.post("/sign-in-links", {})).expect(201).json["url"].partition("#")[2]
    await served.rows("UPDATE sign_in_links SET expires_at = expires_at - interval '10 minutes'")
    assert (await Browser(served).go("POST", "/ui/link", {"secret": late})).status == 422
    for path in ("/runs", "https://evil.example", "/ui/\\evil", "//ui/"):
        (await client.post("/sign-in-links", {"path": path})).expect(422)


async def test_the_api_accepts_no_cookie_and_sends_browsers_to_the_page(served: Serving) -> None:
    browser = await signed_in(served)
    assert (await browser.go("GET", "/runs", Accept="application/json")).status == 401
    page = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    for path, onward in (("/runs/12", "/ui/runs/12"), ("/runs?branch=x", "/ui/runs?branch=x"), ("/", "/ui/")):
        seen = await browser.go("GET", path, Accept=page)
        assert (seen.status, seen.headers["Location"]) == (303, onward)
    _, client = await served.person()
    bearer = f"Bearer {client.token}"
    assert (await browser.go("GET", "/runs", Accept=page, Authorization=bearer)).status == 200


async def test_pages_have_the_checks_of_the_api(served: Serving) -> None:
    _, owner = await served.person()
    pipeline = await served.pipeline(owner)
    reader = Browser(served)
    token = (await owner.post("/tokens", {"name": "r", "scopes": ["read"]})).expect(201).json["token"]
    await reader.sign_in(token)
    assert (await reader.go("GET", f"/ui/pipelines/{pipeline['id']}")).status == 200
    form = {"csrf": await reader.csrf(), "enabled": "false"}
    assert (await reader.go("POST", f"/ui/pipelines/{pipeline['id']}/enabled", form)).status == 403
    stranger = await signed_in(served)
    form["csrf"] = await stranger.csrf()
    for path in (f"/ui/pipelines/{pipeline['id']}", "/ui/pipelines/x", "/ui/runs/1", "/ui/events/1"):
        assert (await stranger.go("GET", path)).status == 404, path
    for action in (f"pipelines/{pipeline['id']}/enabled", f"pipelines/{pipeline['id']}", "runs/1/cancel"):
        assert (await stranger.go("POST", f"/ui/{action}", {**form, "yaml_config": "x: 1"})).status in {
            404,
            422,
        }
    assert (await owner.get(f"/pipelines/{pipeline['id']}")).expect(200).json["enabled"] is True
