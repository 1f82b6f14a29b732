"""Routes for webhooks: signatures, sizes, content types, keys and secrets.

A refused webhook leaves no data behind.
"""

import asyncio
import gzip
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode
from uuid import uuid4

import asyncpg
import pytest
from multidict import CIMultiDict

from tests.e2e.conftest import NARROW_SECRETS
from tests.harness.client import Answer
from tests.harness.coverage import covers
from tests.harness.github import FakeRepository, push, signature, signed_headers, to_bytes
from tests.harness.installation import GITEA_SECRET, GITHUB_SECRET, Towpath
from tests.harness.scenes import Document, Scene, outcome_of, scene, verdict

MEBIBYTE = 1 << 20
LIMIT_BYTES = 25 * MEBIBYTE


@dataclass(frozen=True)
class Door:
    """A route for webhooks, with the secret that is valid there."""

    path: str
    forge: str
    secret: str

    def headers(self, body: bytes, **other: str | None) -> dict[str, str]:
        """Return the headers that the forge sends. A header that is None is left out."""
        if self.forge == "github":
            headers = signed_headers(self.secret, body, event="push")
        else:
            digits = signature(self.secret, body).removeprefix("sha256=")
            headers = {
                "Content-Type": "application/json",
                "X-Gitea-Event": "push",
                "X-Gitea-Delivery": str(uuid4()),
                "X-Gitea-Signature": digits,
            }
        changed = headers | {name.replace("_", "-"): value for name, value in other.items()}
        return {name: value for name, value in changed.items() if value is not None}

    @property
    def delivery(self) -> str:
        return "X_GitHub_Delivery" if self.forge == "github" else "X_Gitea_Delivery"

    @property
    def signature(self) -> str:
        return "X_Hub_Signature_256" if self.forge == "github" else "X_Gitea_Signature"

    async def send(self, towpath: Towpath, body: bytes, **other: str | None) -> Answer:
        return await towpath.admin.as_(None).request(
            "POST", self.path, raw=body, headers=self.headers(body, **other)
        )


GITHUB = Door("/webhooks/github", "github", GITHUB_SECRET)


async def own_door(towpath: Towpath, forge: str) -> tuple[Door, FakeRepository]:
    """Register a repository with a secret of its own. Return its hook and the repository."""
    secret, repository = f"own-{uuid4()}", FakeRepository(f"octo/{uuid4()}")
    body = {
        "full_name": repository.full_name,
        "forge": forge,
        "forge_id": repository.forge_id,
        "clone_url": repository.clone_url,
        "webhook_secret": secret,
    }
    record = (await towpath.admin.post("/repositories", body)).expect(201).json
    return Door(f"/webhooks/{forge}/{record['hook_key']}", forge, secret), repository


async def never_stored(towpath: Towpath, delivery_id: str) -> None:
    (await towpath.admin.get(f"/deliveries/{delivery_id}")).expect(404)


# ---------------------------------------------------------------- what every door does


@covers("POST /webhooks/github 200 202 400 401 413 415", "POST /webhooks/gitea 200 202 400 401 413 415")
@covers(
    "POST /webhooks/github/{hook_key} 200 202 400 401 413 415",
    "POST /webhooks/gitea/{hook_key} 200 202 400 401 413 415",
)
async def test_every_door_takes_what_is_signed_and_refuses_the_rest(towpath: Towpath) -> None:
    doors = [
        (GITHUB, FakeRepository("octo/a")),
        (Door("/webhooks/gitea", "gitea", GITEA_SECRET), FakeRepository("octo/a")),
    ]
    doors += [await own_door(towpath, "github"), await own_door(towpath, "gitea")]
    for door, repository in doors:
        body = to_bytes(push(repository))
        headers = door.headers(body)
        send = towpath.admin.as_(None).request
        (await send("POST", door.path, raw=body, headers=headers)).expect(202)
        (await send("POST", door.path, raw=body, headers=headers)).expect(200)
        (await door.send(towpath, body, **{door.delivery: None})).expect(400)
        (await door.send(towpath, body, **{door.delivery: "two words"})).expect(400)
        (await door.send(towpath, body, **{door.delivery: "x" * 201})).expect(400)
        (await door.send(towpath, body, **{door.signature: None})).expect(401)
        (await door.send(towpath, body, Content_Type="text/plain")).expect(415)
        (await door.send(towpath, b" " * (LIMIT_BYTES + 1))).expect(413)


# ---------------------------------------------------------------- signatures


def _wrong_signatures(body: bytes) -> dict[str, list[tuple[str, str]]]:
    right = signature(GITHUB_SECRET, body)
    name = "X-Hub-Signature-256"
    return {
        "missing": [],
        "empty": [(name, "")],
        "of another secret": [(name, signature("another", body))],
        "of another body": [(name, signature(GITHUB_SECRET, body + b" "))],
        "SHA-1 only": [
            ("X-Hub-Signature", "sha1=" + hmac.new(GITHUB_SECRET.encode(), body, hashlib.sha1).hexdigest())
        ],
        "upper case": [(name, "sha256=" + right.removeprefix("sha256=").upper())],
        "without its prefix": [(name, right.removeprefix("sha256="))],
        "with another prefix": [(name, right.replace("sha256", "sha512"))],
        "cut off": [(name, right[:-1])],
        "too long": [(name, right + "0")],
        "not ASCII": [(name, right[:-1] + "é")],
        "fullwidth digits": [(name, "sha256=" + "\N{FULLWIDTH DIGIT ONE}" * 64)],
        "doubled": [(name, right), (name, right)],
        "right and wrong": [(name, right), (name, "sha256=" + "0" * 64)],
        "two in one": [(name, f"{right}, {right}")],
    }


@pytest.mark.parametrize("case", _wrong_signatures(b""))
async def test_a_wrong_signature_is_refused_and_leaves_nothing(towpath: Towpath, case: str) -> None:
    body = to_bytes(push(FakeRepository("octo/a")))
    headers = CIMultiDict(signed_headers(GITHUB_SECRET, body, event="push"))
    del headers["X-Hub-Signature-256"]
    headers.extend(_wrong_signatures(body)[case])
    async with towpath.session.post(f"{towpath.url}/webhooks/github", data=body, headers=headers) as response:
        assert response.status == 401
        assert response.content_type == "application/problem+json"
    await never_stored(towpath, headers["X-GitHub-Delivery"])


async def test_githubs_own_example_of_a_signature_is_right() -> None:
    """See https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries."""
    assert (
        signature("It's a Secret to Everybody", b"Hello, World!")
        == "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    )


async def test_without_a_configured_secret_every_webhook_is_refused(narrow_towpath: Towpath) -> None:
    door = Door("/webhooks/gitea", "gitea", "")
    (await door.send(narrow_towpath, b"{}")).expect(401)
    (await Door("/webhooks/gitea", "gitea", GITEA_SECRET).send(narrow_towpath, b"{}")).expect(401)


async def test_while_a_secret_is_replaced_both_count(narrow_towpath: Towpath) -> None:
    for secret in NARROW_SECRETS:
        answer = await Door("/webhooks/github", "github", secret).send(
            narrow_towpath, to_bytes(push(FakeRepository("octo/a")))
        )
        answer.expect(202)
    for wrong in (",".join(NARROW_SECRETS), GITEA_SECRET, ""):
        (await Door("/webhooks/github", "github", wrong).send(narrow_towpath, b"{}")).expect(401)


# ---------------------------------------------------------------- hooks of repositories


@covers("POST /webhooks/github/{hook_key} 202 401 403", "POST /webhooks/gitea/{hook_key} 403")
async def test_a_hook_speaks_for_its_own_repository_with_its_own_secret(towpath: Towpath) -> None:
    door, repository = await own_door(towpath, "github")
    other, gitea = FakeRepository("octo/other"), await own_door(towpath, "gitea")
    same_name = FakeRepository(repository.full_name)

    (await door.send(towpath, to_bytes(push(repository)))).expect(202)
    for foreign in (other, same_name):
        (await door.send(towpath, to_bytes(push(foreign)))).expect(403)
    (await gitea[0].send(towpath, to_bytes(push(other)))).expect(403)
    form = urlencode({"payload": to_bytes(push(other)).decode()}).encode()
    (await door.send(towpath, form, Content_Type="application/x-www-form-urlencoded")).expect(403)

    (await Door(door.path, "github", GITHUB_SECRET).send(towpath, to_bytes(push(repository)))).expect(401)
    (await Door("/webhooks/github", "github", door.secret).send(towpath, to_bytes(push(repository)))).expect(
        401
    )
    (
        await Door("/webhooks/github/unknown", "github", GITHUB_SECRET).send(
            towpath, to_bytes(push(repository))
        )
    ).expect(401)
    (
        await Door(door.path.replace("github", "gitea"), "gitea", door.secret).send(
            towpath, to_bytes(push(repository))
        )
    ).expect(401)


async def test_a_replaced_secret_counts_at_once_and_a_deleted_repository_has_none(towpath: Towpath) -> None:
    door, repository = await own_door(towpath, "github")
    record = (
        (await towpath.admin.get(f"/repositories?full_name={repository.full_name}"))
        .expect(200)
        .json["items"][0]
    )
    path = f"/repositories/{record['id']}"
    newer = Door(door.path, "github", f"newer-{uuid4()}")
    (await newer.send(towpath, to_bytes(push(repository)))).expect(401)

    (await towpath.admin.request("PATCH", path, {"webhook_secret": newer.secret})).expect(200)
    (await newer.send(towpath, to_bytes(push(repository)))).expect(202)
    (await door.send(towpath, to_bytes(push(repository)))).expect(401)
    (await towpath.admin.delete(path)).expect(204)
    (await newer.send(towpath, to_bytes(push(repository)))).expect(401)


# ---------------------------------------------------------------- bodies


async def test_a_body_of_25_mebibytes_is_a_push_like_any_other(towpath: Towpath) -> None:
    one = await scene(towpath)
    body = to_bytes(push(one.repository)).ljust(LIMIT_BYTES)
    answer = (await GITHUB.send(towpath, body)).expect(202)
    assert verdict(await one.decision(answer.json["delivery_id"])) == ("run", "matched")
    shown = (await towpath.admin.get(f"/deliveries/{answer.json['delivery_id']}")).expect(200).json
    assert shown["body_bytes"] == LIMIT_BYTES


async def test_a_body_in_chunks_counts_as_it_arrives(towpath: Towpath) -> None:
    one = await scene(towpath)
    small = to_bytes(push(one.repository))
    for body, status in ((small, 202), (small.ljust(LIMIT_BYTES + 1), 413)):

        async def chunks(body: bytes = body) -> AsyncIterator[bytes]:
            for start in range(0, len(body), MEBIBYTE):
                yield body[start : start + MEBIBYTE]

        async with towpath.session.post(
            f"{towpath.url}/webhooks/github", data=chunks(), headers=GITHUB.headers(body)
        ) as response:
            assert response.status == status, await response.text()


async def test_a_compressed_body_is_refused_regardless_of_its_content(towpath: Towpath) -> None:
    packed = gzip.compress(to_bytes(push(FakeRepository("octo/a"))))
    for encoding in ("gzip", "deflate", "br", "zstd"):
        (await GITHUB.send(towpath, packed, Content_Encoding=encoding)).expect(415)


@covers("POST /webhooks/github 202 415")
async def test_forms_and_json_are_read_and_nothing_else(towpath: Towpath) -> None:
    one = await scene(towpath)
    form = urlencode({"payload": to_bytes(push(one.repository)).decode()}).encode()
    answer = (await GITHUB.send(towpath, form, Content_Type="application/x-www-form-urlencoded")).expect(202)
    assert verdict(await one.decision(answer.json["delivery_id"])) == ("run", "matched")
    (
        await GITHUB.send(
            towpath, to_bytes(push(one.repository)), Content_Type="application/json; charset=utf-8"
        )
    ).expect(202)
    for other in (
        "text/plain",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/vnd.github+json",
        "json",
    ):
        (await GITHUB.send(towpath, to_bytes(push(one.repository)), Content_Type=other)).expect(415)


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 1000", b"Transfer-Encoding: chunked"], ids=["length", "chunked"]
)
async def test_a_body_that_does_not_arrive_is_given_up(narrow_towpath: Towpath, framing: bytes) -> None:
    """This installation waits one second for a body. The default is ten."""
    reader, writer = await asyncio.open_connection("127.0.0.1", narrow_towpath.stack.port("gateway"))
    headers = Door("/webhooks/github", "github", NARROW_SECRETS[0]).headers(b"")
    lines = [
        b"POST /webhooks/github HTTP/1.1",
        b"Host: towpath",
        framing,
        *(f"{name}: {value}".encode() for name, value in headers.items()),
    ]
    writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + b'5\r\n{"ref\r\n')
    status = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    assert status.split()[1] == b"408"
    await never_stored(narrow_towpath, headers["X-GitHub-Delivery"])


# ---------------------------------------------------------------- together


@covers("POST /webhooks/github 202 422")
async def test_a_row_that_postgres_refuses_harms_no_other(narrow_towpath: Towpath) -> None:
    """Sixty concurrent deliveries share transactions. A constraint refuses three of them."""
    door = Door("/webhooks/github", "github", NARROW_SECRETS[0])
    kinds = ["poison" if index % 20 == 7 else "issues" for index in range(60)]
    async with refusing(narrow_towpath.stack.database_url, "poison"):
        sent = (
            door.send(narrow_towpath, b'{"number": %d}' % index, X_GitHub_Event=kind)
            for index, kind in enumerate(kinds)
        )
        answers = await asyncio.gather(*sent)
    assert [answer.status for answer in answers] == [422 if kind == "poison" else 202 for kind in kinds]
    for answer in answers:
        if answer.status == 202:
            assert (await outcome_of(narrow_towpath, answer.json["delivery_id"]))["outcome"] == "ignored"


@asynccontextmanager
async def refusing(database_url: str, event_type: str) -> AsyncIterator[None]:
    """Make Postgres refuse deliveries of this event type during the block."""
    connection = await asyncpg.connect(database_url)
    await connection.execute(
        f"ALTER TABLE deliveries ADD CONSTRAINT poison CHECK (event_type <> '{event_type}')"
    )
    yield
    await connection.execute("ALTER TABLE deliveries DROP CONSTRAINT poison")
    await connection.close()


# ---------------------------------------------------------------- names from outside


ODD_BRANCHES = [
    "$(touch {owned})",
    "`touch {owned}`",
    "-upload-pack=touch {owned}",
    "--output={owned}",
    "a;touch {owned}",
    "a' || touch {owned} #",
    'a" && touch {owned} "',
    "x" * 250,
    "🚢/emoji",
    "\N{RIGHT-TO-LEFT OVERRIDE}abc",
    "%s%n%00",
    "${{ event.branch }}",
    "../../etc/passwd",
]


async def test_a_branchs_name_is_never_executed(towpath: Towpath) -> None:
    """Each name reaches the job unchanged in its environment, and is used nowhere else."""
    owned = Path(f"/tmp/owned-{uuid4()}")  # noqa: S108 - the name that the branches' names would create
    steps = [
        {"run": 'printf %s "$TOWPATH_BRANCH"'},
        {"run": 'eval "echo done"'},
        {"run": f"test ! -e {owned}"},
    ]
    one = await scene(towpath, {"only": {"checkout": False, "steps": steps}})
    branches = [branch.replace("{owned}", str(owned)) for branch in ODD_BRANCHES]
    runs = await asyncio.gather(*(ran_on(one, branch) for branch in branches))
    assert [(run["status"], run["branch"]) for run, _ in runs] == [("success", branch) for branch in branches]
    assert [log.partition(b"done")[0].decode() for _, log in runs] == branches
    assert not await asyncio.to_thread(owned.exists)


async def ran_on(one: Scene, branch: str) -> tuple[Document, bytes]:
    run = await one.ran(ref=f"refs/heads/{branch}", within=60)
    return run, await one.towpath.log(run["id"], "only")


@pytest.mark.parametrize(
    "branch", ["a\nb", "a\x00b", "a\x1b[31mb", ""], ids=["line feed", "NUL", "escape", "empty"]
)
async def test_a_name_that_git_does_not_allow_starts_nothing(towpath: Towpath, branch: str) -> None:
    one = await scene(towpath)
    delivery = await outcome_of(towpath, await one.push(ref=f"refs/heads/{branch}"))
    assert delivery["outcome"] in {"failed", "ignored"}
    assert await towpath.runs(one.pipeline) == []
