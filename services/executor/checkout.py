"""Checks out exactly one commit into a workspace, by running git without a shell.

The caller passes the function that runs git, and so decides as which user git runs.

Credentials exist only in the environment of git's own processes. Text from a server or a repository never
becomes an option or a command: revisions are hexadecimal, a ref must look like one, hooks are off, and git
uses only the allowed protocols. It never handles submodules by itself: see `submodules`. Processes that clone
start with this module, so it imports only a small part of the standard library.
"""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NoReturn

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
"""Runs git in the workspace with these arguments, and these variables in addition to PATH and HOME.

All output, of stdout and stderr, goes to the sink. Returns git's exit code. Raises GaveUp if git was ended
early.
"""


@dataclass(frozen=True, slots=True)
class Commit:
    """The commit, and its source. `sha` and `merge_sha` must be hexadecimal, else they are not fetched."""

    url: str
    sha: str
    ref: str | None
    merge_sha: str | None
    """Built instead of `sha` if `sha` is one of its parents."""
    depth: int
    """Number of commits to fetch; 0 fetches the whole history."""
    token: str | None = field(repr=False)
    protocols: str
    """The protocols that git may use, in the format of GIT_ALLOW_PROTOCOL, such as https:file."""
    tags: bool = False
    """True to fetch all tags. Otherwise only the tag that `ref` names is fetched."""
    submodules: bool | Literal["recursive"] = False
    """Whether submodules are fetched: those of the commit, or also theirs."""
    shares_token: bool = False
    """True if submodules of the same server are fetched with the token."""
    lfs: bool = False
    """True to replace the pointers of git LFS by their files."""
    folder: str = ""
    """The repository's folder, relative to the workspace. Empty: the workspace itself."""


class GaveUp(Exception):
    """A git command that had to succeed failed, was stopped, or ran out of time."""

    def __init__(self, exit_code: int, *, stopped: bool = False, timed_out: bool = False) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code
        self.stopped = stopped
        self.timed_out = timed_out


class Checkout:
    """One checkout, run once. `complaint` is git's last error message."""

    def __init__(
        self,
        commit: Commit,
        git: Git,
        log: Sink,
        workspace: Path,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """`workspace` is the folder in which `git` runs, and `settings` are further settings of git."""
        self._commit = commit
        self._run_git = git
        self._write = log
        self._workspace = workspace
        self._settings = settings or {}
        self._tail = b""  # the end of the last command's output

    def run(self) -> None:
        """Check out the commit into a repository that `make_repository` created. Raises GaveUp."""
        if self._commit.lfs:
            self._require_lfs()
        self._must("checkout", "--quiet", "--force", "--detach", self._fetch())
        if self._commit.lfs:
            self._fetch_files()
        if self._commit.submodules:
            self._fetch_submodules()

    @property
    def complaint(self) -> str:
        """Return git's first fatal line, else its last line. The lines after a fatal one are advice."""
        lines = [line for line in self._tail.decode("utf-8", "replace").splitlines() if line.strip()]
        fatal = [line for line in lines if line.startswith("fatal: ")]
        return (fatal or lines[-1:] or ["git ended without a word"])[0][:500]

    def _require_lfs(self) -> None:
        if self._git(bytearray().extend, "lfs", "version") != 0:
            self._refuse("`checkout.lfs` needs the program git-lfs, which is not installed here")
        if not self._commit.url.startswith(("https://", "http://")):
            self._refuse("`checkout.lfs` needs a clone URL that begins with https://")

    def _fetch_files(self) -> None:
        """Replace the pointers of git LFS by their files, and let git handle them from now on."""
        self._must("lfs", "install", "--local", "--skip-repo")
        self._must("lfs", "fetch", "origin", "HEAD")
        self._must("lfs", "checkout")

    def _refuse(self, reason: str) -> NoReturn:
        self._say(f"fatal: {reason}")
        raise GaveUp(1)

    def _fetch_submodules(self) -> None:
        from services.executor.submodules import Submodules  # noqa: PLC0415 - most clones do not need it

        submodules = Submodules(self._commit, self._run_git, self._write, self._workspace)
        try:
            submodules.fetch()
        except GaveUp:
            self._tail = f"fatal: {submodules.complaint}".encode("utf-8", "replace")
            raise

    def _fetch(self) -> str:
        """Fetch and return the commit to build.

        The merge commit of a pull request is built only if it merges exactly the event's head commit.
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
        if exit_code != 0 and ref and self._is_refused():
            self._say(f"The server gives out no commit by its SHA: fetching {ref}.")
            exit_code = self._fetch_from_server(ref, depth=0)
        if exit_code != 0:
            raise GaveUp(exit_code)
        return commit.sha

    def _fetch_tag(self, ref: str) -> bool:
        """Fetch the tag under its name, so that `git describe` finds it, and with it the commit.

        Returns False and keeps no tag if the server has no such tag or the tag names another commit.
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

    def _is_refused(self) -> bool:
        """Return whether the server of the last fetch serves no commits by SHA."""
        return any(text in self._tail for text in _REFUSALS)

    def _parents(self, revision: str) -> list[str]:
        """Return the parents from the raw object: in a shallow repository, git shows only those it has."""
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
        folder = ("-C", self._commit.folder) if self._commit.folder else ()
        secret = arguments[0] == "fetch" or arguments[:2] == ("lfs", "fetch")
        more = {**self._settings, **_lfs_settings(self._commit)} if arguments[0] == "lfs" else self._settings
        variables = git_variables(self._commit, more, secret=secret)
        return self._run_git((*folder, *arguments), variables, sink)

    def _log(self, data: bytes) -> None:
        self._tail = (self._tail + data)[-4096:]
        self._write(data)

    def _say(self, text: str) -> None:
        self._log(text.encode("utf-8", "replace") + b"\n")


def make_repository(workspace: Path, commit: Commit) -> None:
    """Create the files that `git init` and `git remote add` would create in the commit's folder.

    This saves two processes. The folder must be empty or missing. The URL is written as a quoted value.
    """
    git = workspace / commit.folder / ".git"
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


def git_variables(commit: Commit, more: Mapping[str, str], *, secret: bool) -> dict[str, str]:
    """Return the environment variables of a git process.

    The token is bound to the server of the clone URL. With a token, redirects are refused, so that it goes
    nowhere else.
    """
    settings = {**_SETTINGS, **more}
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


def _lfs_settings(commit: Commit) -> dict[str, str]:
    """Return the settings of git LFS. They take precedence over `.lfsconfig` of the repository.

    The files come from the server of the clone URL, and a file that is missing is an error.
    """
    url = commit.url.rstrip("/")
    suffix = "" if url.endswith(".git") else ".git"
    return {"lfs.url": f"{url}{suffix}/info/lfs", "lfs.skipDownloadErrors": "false"}


def _server(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}/"
