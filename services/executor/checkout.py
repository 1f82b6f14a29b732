"""How exactly one commit comes into a workspace, by git without a shell.

Who runs git, and as whom, is handed in.

Credentials exist only in the environment of git's own processes. What a server or a repository says never
becomes an option or a command: revisions are hexadecimal, a ref must look like one, hooks and submodules are
off, and git speaks only the protocols that were allowed. Processes that clone start with this module, so it
asks for little of the standard library and nothing else.
"""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_REVISION = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
_REF = re.compile(r"refs/[^\x00-\x20\x7f:*?\[\\^~]+\Z")
_REFUSALS = (b"unadvertised object", b"not our ref")
_NO_SUCH_TAG = (b"find remote ref", b"invalid refspec")
_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "advice.detachedHead": "false",
    "submodule.recurse": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
}

Sink = Callable[[bytes], object]
Git = Callable[[Sequence[str], Mapping[str, str], Sink], int]
"""Runs git in the workspace with these arguments, and these variables beside PATH and HOME; its output, of
both kinds, goes to the sink. Returns its exit code. Raises GaveUp when it was ended before its time.
"""


@dataclass(frozen=True, slots=True)
class Commit:
    """Which commit, and from where. `sha` and `merge_sha` are hexadecimal, else nothing is fetched."""

    url: str
    sha: str
    ref: str | None
    merge_sha: str | None
    """Built instead where `sha` is among its parents."""
    depth: int
    """0: all of the history."""
    token: str | None = field(repr=False)
    protocols: str
    """What git may speak, as in GIT_ALLOW_PROTOCOL: https:file"""
    tags: bool = False
    """Whether all tags are fetched too. Otherwise only the tag that `ref` names is."""


class GaveUp(Exception):
    """A git command that had to work did not."""

    def __init__(self, exit_code: int, *, stopped: bool = False, timed_out: bool = False) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code
        self.stopped = stopped
        self.timed_out = timed_out


class Checkout:
    """One checkout, run once. `complaint` says what git said last."""

    def __init__(self, commit: Commit, git: Git, log: Sink) -> None:
        self._commit = commit
        self._run_git = git
        self._write = log
        self._tail = b""  # of what the last command said

    def run(self) -> None:
        """Into a repository that `make_repository` made. Raises GaveUp."""
        self._must("checkout", "--quiet", "--force", "--detach", self._fetch())

    @property
    def complaint(self) -> str:
        """Git's first fatal line: those behind it are advice."""
        lines = [line for line in self._tail.decode("utf-8", "replace").splitlines() if line.strip()]
        fatal = [line for line in lines if line.startswith("fatal: ")]
        return (fatal or lines[-1:] or ["git ended without a word"])[0][:500]

    def _fetch(self) -> str:
        """The commit to build: the merge of a pull request only where it merges the very head of the
        event.
        """
        commit = self._commit
        if commit.merge_sha is not None and self._fetch_revision(commit.merge_sha) == 0:
            if commit.sha in self._parents(commit.merge_sha):
                self._say(f"Building {commit.merge_sha}, the merge of {commit.sha}.")
                return commit.merge_sha
            self._say(f"{commit.merge_sha} does not merge {commit.sha}: building the head itself.")
        ref = commit.ref if commit.ref is not None and _REF.match(commit.ref) else ""
        if ref.startswith("refs/tags/") and not commit.tags and self._fetch_tag(ref):
            return commit.sha
        exit_code = self._fetch_revision(commit.sha)
        if exit_code != 0 and ref and any(text in self._tail for text in _REFUSALS):
            self._say(f"The server gives out no commit by its SHA: fetching {ref}.")
            exit_code = self._fetch_from_server(ref, depth=0)
        if exit_code != 0:
            raise GaveUp(exit_code)
        return commit.sha

    def _fetch_tag(self, ref: str) -> bool:
        """Fetch the tag under its name, so that `git describe` finds it, and with it the commit.

        Returns False, and keeps no tag, where the server has none of this name or it names another commit.
        """
        exit_code = self._fetch_from_server(f"+{ref}:{ref}", depth=self._commit.depth)
        if exit_code != 0:
            if not any(text in self._tail for text in _NO_SUCH_TAG):
                raise GaveUp(exit_code)
            self._say(f"The server has no {ref}: fetching {self._commit.sha} alone.")
            return False
        names = bytearray()
        self._git(names.extend, "rev-parse", ref, f"{ref}^{{commit}}")
        if self._commit.sha in names.decode("utf-8", "replace").split():
            return True
        self._must("update-ref", "-d", ref)
        self._say(f"{ref} names another commit now: fetching {self._commit.sha} alone.")
        return False

    def _fetch_revision(self, revision: str) -> int:
        if not _REVISION.match(revision):
            self._say(f"fatal: not a commit's SHA: {revision[:80]!r}")
            return 128
        return self._fetch_from_server(revision, depth=self._commit.depth)

    def _fetch_from_server(self, wanted: str, *, depth: int) -> int:
        options = ["--tags" if self._commit.tags else "--no-tags", "--no-recurse-submodules"]
        if depth > 0:
            options.append(f"--depth={depth}")
        return self._git(self._log, "fetch", *options, "--end-of-options", self._commit.url, wanted)

    def _parents(self, revision: str) -> list[str]:
        """From the raw object: what a shallow repository shows as parents are those it has."""
        raw = bytearray()
        exit_code = self._git(raw.extend, "cat-file", "commit", revision)
        if exit_code != 0:
            raise GaveUp(exit_code)
        header = raw.partition(b"\n\n")[0].decode("utf-8", "replace")
        return [line.removeprefix("parent ") for line in header.split("\n") if line.startswith("parent ")]

    def _must(self, *arguments: str) -> None:
        exit_code = self._git(self._log, *arguments)
        if exit_code != 0:
            raise GaveUp(exit_code)

    def _git(self, sink: Sink, *arguments: str) -> int:
        self._tail = b""
        return self._run_git(arguments, _variables(self._commit, secret=arguments[0] == "fetch"), sink)

    def _log(self, data: bytes) -> None:
        self._tail = (self._tail + data)[-4096:]
        self._write(data)

    def _say(self, text: str) -> None:
        self._log(text.encode("utf-8", "replace") + b"\n")


def make_repository(workspace: Path, commit: Commit) -> None:
    """What `git init` and `git remote add` would make in an empty folder, without two processes.

    A URL is written as a quoted value.
    """
    git = workspace / ".git"
    quoted = commit.url.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "")
    version, extension = (1, "[extensions]\n\tobjectformat = sha256\n") if len(commit.sha) == 64 else (0, "")
    for folder in ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info"):
        (git / folder).mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n", encoding="utf-8")
    core = (
        f"[core]\n\trepositoryformatversion = {version}\n\tfilemode = true\n\tbare = "
        "false\n\tlogallrefupdates = true\n"
    )
    (git / "config").write_text(
        f'{core}{extension}[remote "origin"]\n\turl = "{quoted}"\n\tfetch = '
        "+refs/heads/*:refs/remotes/origin/*\n",
        encoding="utf-8",
    )


def _variables(commit: Commit, *, secret: bool) -> dict[str, str]:
    """Of a git process.

    The token is bound to the server of the clone URL, and goes nowhere else: with it, redirects are refused.
    """
    settings = dict(_SETTINGS)
    if secret and commit.token is not None:
        basic = base64.b64encode(f"x-access-token:{commit.token}".encode()).decode()
        settings |= {
            f"http.{_server(commit.url)}.extraHeader": f"Authorization: Basic {basic}",
            "http.followRedirects": "false",
        }
    variables = {
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ALLOW_PROTOCOL": commit.protocols,
        "GIT_CONFIG_COUNT": str(len(settings)),
    }
    for index, (key, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    return variables


def _server(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}/"
