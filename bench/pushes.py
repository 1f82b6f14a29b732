"""Signed GitHub push webhooks. A series has any number of distinct ones, which are cheap to send.

All bodies of a series have the same beginning and differ in their ends (`pushed_at`, before, after, commit).
Signing a body therefore only hashes its end, and a sender keeps one copy of the beginning.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass, field
from functools import cached_property

BODY_BYTES = 8192
"""The size of GitHub's body for a push of one or two commits."""

_FIRST_PUSHED_AT = 1_767_225_600
_LINKS = """forks keys{/key_id} collaborators{/collaborator} teams hooks issues/events{/number} events
assignees{/user} branches{/branch} tags git/blobs{/sha} git/tags{/sha} git/refs{/sha}
git/trees{/sha} statuses/{sha} languages stargazers contributors subscribers subscription
commits{/sha} git/commits{/sha} comments{/number} issues/comments{/number} contents/{+path}
compare/{base}...{head} merges {archive_format}{/ref} downloads issues{/number} pulls{/number}
milestones{/number} notifications{?since,all,participating} labels{/name} releases{/id}
deployments"""


_PERSON = {"name": "Ada Example", "email": "ada@example.org", "username": "ada"}
_COMMIT = {
    "id": "%(after)s",
    "tree_id": "%(before)s",
    "distinct": True,
    "message": "Change number %(number)d",
    "timestamp": "2026-01-01T12:00:00+00:00",
    "url": "https://github.com/%(repository)s/commit/%(after)s",
    "author": _PERSON,
    "committer": _PERSON,
    "added": [],
    "removed": [],
    "modified": ["src/app.py", "docs/readme.md"],
}
_VARIABLE = json.dumps(
    {"before": "%(before)s", "after": "%(after)s", "head_commit": _COMMIT, "commits": [_COMMIT]},
    separators=(",", ":"),
)
_END = ',"pushed_at":%(pushed_at)d},' + _VARIABLE[1:]


@dataclass(frozen=True)
class Series:
    """The pushes to one branch of one repository.

    `seed` distinguishes the series. The same seed gives the same pushes.
    """

    repository: str
    forge_id: int
    secret: str
    seed: str
    branch: str = "main"
    body_bytes: int = field(default=BODY_BYTES)

    @cached_property
    def beginning(self) -> bytes:
        """The common beginning of all bodies.

        The repository's description is padded so that a whole body has `body_bytes`.
        """
        bare = self._beginning("")
        return self._beginning("x" * max(0, self.body_bytes - len(bare) - len(self.end(0))))

    def sha(self, number: int) -> str:
        """Return the commit at which push `number` leaves the branch. Push 0 follows commit -1."""
        return hashlib.sha1(f"{self.seed}:{number}".encode(), usedforsecurity=False).hexdigest()

    def end(self, number: int) -> bytes:
        before, after = self.sha(number - 1), self.sha(number)
        return (
            _END
            % {
                "number": number,
                "pushed_at": _FIRST_PUSHED_AT + number,
                "before": before,
                "after": after,
                "repository": self.repository,
            }
        ).encode()

    def body(self, number: int) -> bytes:
        return self.beginning + self.end(number)

    def headers(self, number: int, end: bytes) -> dict[str, str]:
        """Return GitHub's headers for push `number` with this end.

        As from GitHub, there are two signatures.
        """
        return {
            "Content-Type": "application/json",
            "User-Agent": "GitHub-Hookshot/bench",
            "X-GitHub-Delivery": self.sha(number)[:32],
            "X-GitHub-Event": "push",
            "X-GitHub-Hook-Installation-Target-Type": "repository",
            "X-Hub-Signature": "sha1=" + _finish(self._begun_sha1, end),
            "X-Hub-Signature-256": "sha256=" + _finish(self._begun_sha256, end),
        }

    @cached_property
    def _begun_sha1(self) -> "hmac.HMAC":
        return hmac.new(self.secret.encode(), self.beginning, "sha1")

    @cached_property
    def _begun_sha256(self) -> "hmac.HMAC":
        return hmac.new(self.secret.encode(), self.beginning, "sha256")

    def _beginning(self, description: str) -> bytes:
        owner, _, name = self.repository.partition("/")
        api = f"https://api.github.com/repos/{self.repository}"
        pushed = {
            "ref": f"refs/heads/{self.branch}",
            "created": False,
            "deleted": False,
            "forced": False,
            "base_ref": None,
            "compare": f"https://github.com/{self.repository}/compare/a...b",
            "pusher": {"name": "ada", "email": "ada@example.org"},
            "sender": {
                "login": "ada",
                "id": 1,
                "type": "User",
                "site_admin": False,
                "url": "https://api.github.com/users/ada",
            },
            "repository": {
                "id": self.forge_id,
                "name": name,
                "full_name": self.repository,
                "private": False,
                "owner": {"name": owner, "login": owner, "id": 2, "type": "Organization"},
                "html_url": f"https://github.com/{self.repository}",
                "clone_url": f"https://github.com/{self.repository}.git",
                **{
                    f"{link.split('{')[0].strip('/').replace('/', '_') or 'archive'}_url": f"{api}/{link}"
                    for link in _LINKS.split()
                },
                "default_branch": "main",
                "size": 4096,
                "language": "Python",
                "description": description,
            },
        }
        # Without the last two braces: `end` closes the repository and the document.
        return json.dumps(pushed, separators=(",", ":")).encode()[:-2]


def _finish(begun: "hmac.HMAC", end: bytes) -> str:
    """Return the HMAC of the beginning, which is already hashed, and this end."""
    copy = begun.copy()
    copy.update(end)
    return copy.hexdigest()
