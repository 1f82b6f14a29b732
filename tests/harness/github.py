"""GitHub webhooks as GitHub sends them: payloads of invented repositories, signed over the raw bytes."""

import hashlib
import hmac
import itertools
import json
import secrets
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

ZERO = "0" * 40
_seconds = itertools.count(1_700_000_000)


@dataclass
class FakeRepository:
    """A repository as GitHub's payloads describe it. It does not exist."""

    full_name: str
    forge_id: int = field(default_factory=lambda: secrets.randbelow(2**40) + 1)
    clone_url: str = "https://github.example/none.git"

    @property
    def json(self) -> dict[str, Any]:
        owner, _, name = self.full_name.partition("/")
        return {
            "id": self.forge_id,
            "name": name,
            "full_name": self.full_name,
            "private": False,
            "owner": {"login": owner, "id": 7, "type": "User"},
            "html_url": f"https://github.com/{self.full_name}",
            "clone_url": f"https://github.com/{self.full_name}.git",
            "default_branch": "main",
            "pushed_at": next(_seconds),  # no two pushes have the same second, so that their order is known
        }


def new_sha() -> str:
    return secrets.token_hex(20)


def push(
    repository: FakeRepository,
    *,
    sha: str | None = None,
    ref: str = "refs/heads/main",
    before: str | None = None,
    message: str = "a change",
    tag_object: str | None = None,
) -> dict[str, Any]:
    """Return the payload of a push of one commit to an existing branch or tag.

    `before=ZERO` makes it a new branch or tag, `sha=ZERO` a deletion. `tag_object` is the SHA of an annotated
    tag that points to the commit.
    """
    sha = sha or new_sha()
    before = before or new_sha()
    commit = {
        "id": sha,
        "message": message,
        "timestamp": "2026-11-20T10:00:00+00:00",
        "author": {"name": "Mona", "email": "mona@example.org", "username": "mona"},
        "committer": {"name": "Mona", "email": "mona@example.org", "username": "mona"},
        "added": [],
        "removed": [],
        "modified": ["README.md"],
    }
    return {
        "ref": ref,
        "before": before,
        "after": tag_object or sha,
        "created": before == ZERO,
        "deleted": sha == ZERO,
        "forced": False,
        "base_ref": None,
        "compare": f"https://github.com/{repository.full_name}/compare/{before[:12]}...{sha[:12]}",
        "commits": [] if sha == ZERO else [commit],
        "head_commit": None if sha == ZERO else commit,
        "repository": repository.json,
        "pusher": {"name": "mona", "email": "mona@example.org"},
        "sender": {"login": "mona", "id": 11, "type": "User"},
    }


def pull_request(
    repository: FakeRepository,
    *,
    action: str = "opened",
    number: int = 1,
    sha: str | None = None,
    updated_at: str = "2026-11-20T10:00:00Z",
    fork: bool = False,
) -> dict[str, Any]:
    """Return the payload of a pull request from branch `topic` into `main`.

    With `fork`, the branch is another repository's.
    """
    head_repository = FakeRepository("stranger/fork").json if fork else repository.json
    return {
        "action": action,
        "number": number,
        "pull_request": {
            "id": 1000 + number,
            "number": number,
            "state": "closed" if action == "closed" else "open",
            "title": "Add a thing",
            "merged": False,
            "updated_at": updated_at,
            "merge_commit_sha": None,
            "head": {
                "ref": "topic",
                "sha": sha or new_sha(),
                "repo": head_repository,
                "user": {"login": "mona", "id": 11},
            },
            "base": {
                "ref": "main",
                "sha": new_sha(),
                "repo": repository.json,
                "user": {"login": "mona", "id": 11},
            },
            "user": {"login": "mona", "id": 11},
        },
        "repository": repository.json,
        "sender": {"login": "mona", "id": 11, "type": "User"},
    }


def signature(secret: str, body: bytes) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def signed_headers(secret: str, body: bytes, *, event: str, delivery_id: str | None = None) -> dict[str, str]:
    """Return the headers that GitHub documents for webhook deliveries."""
    return {
        "Content-Type": "application/json",
        "User-Agent": "GitHub-Hookshot/044aadd",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": delivery_id or str(uuid4()),
        "X-GitHub-Hook-ID": "292430182",
        "X-GitHub-Hook-Installation-Target-ID": "79929171",
        "X-GitHub-Hook-Installation-Target-Type": "repository",
        "X-Hub-Signature-256": signature(secret, body),
    }


def to_bytes(payload: dict[str, Any]) -> bytes:
    return json.dumps(payload).encode()
