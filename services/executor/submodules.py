"""Fetches the submodules of a commit that is checked out. `Checkout` calls it.

Everybody who may push can write `.gitmodules`, so `git submodule`, which obeys more of that file than a path
and a URL, is not used. These are the rules:

1. Names and paths that leave the repository, reach into `.git` or look like an option are refused, and so is
   a path through a symbolic link. Names are never used as a path: the repository of a submodule is in `.git`
   of its folder.
2. A submodule of the clone URL's server (the same scheme, host and port) is fetched with the clone token,
   unless the event is untrusted. Relative URLs belong to this server.
3. A submodule of another server is fetched without credentials, by https, and only from public addresses.
   git gets the addresses that were checked, so another answer of the name server cannot lead elsewhere.
4. All other URLs are refused. Redirects are not followed.
5. The number of submodules and their nesting are limited. The time limit is that of the whole clone.
"""

import re
import socket
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from services.executor.checkout import Checkout, Commit, GaveUp, Git, Sink
from shared.clone_urls import address_of, clone_url_fault, is_private

LEVELS = 10
"""Nesting of submodules. A repository that is a submodule of itself reaches it."""
COUNT = 500
"""Submodules of a commit, in all levels together."""
_MODULES_BYTES = 1 << 20
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ALLOWED = "allowed are https:// URLs and relative ones such as ../lib.git"


class Refused(Exception):
    """A submodule may not be fetched. The text gives users the reason."""


@dataclass(frozen=True, slots=True)
class Submodule:
    path: str
    url: str
    """As it is in `.gitmodules`."""
    sha: str


class Submodules:
    """All submodules of a commit, fetched once. `complaint` is the last error message."""

    def __init__(self, commit: Commit, git: Git, log: Sink, workspace: Path) -> None:
        self._root = commit
        self._git = git
        self._log = log
        self._workspace = workspace
        self._left = COUNT
        self.complaint = ""

    def fetch(self) -> None:
        """Fetch and check out the submodules. Raises GaveUp."""
        self._fetch_below(self._root, 1)

    def _fetch_below(self, above: Commit, level: int) -> None:
        repository = _Repository(above, self._git, self._log, self._workspace)
        try:
            found = repository.submodules()
            self._left -= len(found)
            if self._left < 0:
                raise Refused(f"a commit may have {COUNT} submodules")
            if found and level > LEVELS:
                raise Refused(f"submodules may be nested {LEVELS} levels deep")
        except (GaveUp, Refused) as error:
            raise self._gave_up(above.folder or "the repository", repository, error) from error
        for submodule in found:
            self._fetch_one(submodule, above, level)

    def _fetch_one(self, submodule: Submodule, above: Commit, level: int) -> None:
        folder = f"{above.folder}/{submodule.path}" if above.folder else submodule.path
        repository = None
        try:
            url = absolute_url(submodule.url, above.url)
            commit, settings = commit_of(replace(self._root, folder=folder), url, submodule.sha)
            check_folder(self._workspace, folder)
            repository = _Repository(commit, self._git, self._log, self._workspace, settings)
            self._log(f"Submodule {folder!r}: {url}\n".encode("utf-8", "replace"))
            repository.make()
        except (GaveUp, Refused) as error:
            raise self._gave_up(f"submodule {folder!r}", repository, error) from error
        if self._root.submodules == "recursive":
            self._fetch_below(commit, level + 1)

    def _gave_up(self, what: str, repository: "_Repository | None", error: GaveUp | Refused) -> GaveUp:
        if isinstance(error, Refused):
            self.complaint = f"{what}: {error}"
            self._log(f"fatal: {self.complaint}\n".encode("utf-8", "replace"))
            return GaveUp(1)
        text = repository.complaint if repository is not None else ""
        self.complaint = f"{what}: {text.removeprefix('fatal: ')}"
        return error


class _Repository(Checkout):
    """A repository that has submodules or is one."""

    def submodules(self) -> list[Submodule]:
        """Return the submodules of the commit that is checked out. Raises GaveUp and Refused."""
        index = Index()
        if self._git(index, "ls-files", "--stage", "-z") != 0:
            raise GaveUp(1)
        if not index.submodules:
            return []
        if index.modules_mode not in ("100644", "100755"):
            raise Refused("it has submodules, but no file .gitmodules")
        written = bytearray()
        arguments = ("config", "--no-includes", "--list", "-z", "--blob", ":.gitmodules")
        if self._git(_limited(written), *arguments) != 0:
            raise Refused("its file .gitmodules can't be read")
        self._must("config", "submodule.active", ".")
        return list(listed(index.submodules, bytes(written)))

    def make(self) -> None:
        """Create the repository in its folder, and check out its commit. Raises GaveUp."""
        kind = ["--object-format=sha256"] if len(self._commit.sha) == 64 else []
        self._must("init", "--quiet", "--template=", "--initial-branch=main", *kind)
        self._must("remote", "add", "origin", self._commit.url)
        self.run()

    def _fetch(self) -> str:
        """Fetch the commit alone, or all branches if the server serves no commits by SHA."""
        exit_code = self._fetch_revision(self._commit.sha)
        if exit_code != 0 and self._is_refused():
            self._say("The server gives out no commit by its SHA: fetching all branches.")
            exit_code = self._fetch_from_server("+refs/heads/*:refs/remotes/origin/*", depth=0)
        if exit_code != 0:
            raise GaveUp(exit_code)
        return self._commit.sha

    def _fetch_submodules(self) -> None:
        """Do nothing: `Submodules` goes through all levels."""


class Index:
    """A sink for `git ls-files --stage -z`. It keeps the submodules and the mode of `.gitmodules`."""

    def __init__(self) -> None:
        self.submodules: dict[bytes, str] = {}
        self.modules_mode = ""
        self._rest = b""

    def __call__(self, data: bytes) -> None:
        *entries, self._rest = (self._rest + data).split(b"\0")
        for entry in entries:
            facts, _, path = entry.partition(b"\t")
            mode, sha, _ = facts.decode("ascii", "replace").split(" ")
            if mode == "160000":
                self.submodules[path] = sha
            elif path == b".gitmodules":
                self.modules_mode = mode


def listed(links: Mapping[bytes, str], modules: bytes) -> Iterator[Submodule]:
    """Yield the submodules of these links, with their URLs from `git config --list -z` of `.gitmodules`.

    Raises Refused if a link has no URL, or if a name or a path is not harmless.
    """
    urls = _urls(modules)
    for raw, sha in links.items():
        path = _text(raw)
        check_path("path", path)
        if path not in urls:
            raise Refused(f"its file .gitmodules has no URL for the submodule {path!r}")
        yield Submodule(path, urls[path], sha)


def _urls(modules: bytes) -> dict[str, str]:
    entries: dict[str, dict[str, str]] = {}
    for line in modules.split(b"\0")[:-1]:
        key, _, value = line.partition(b"\n")
        section, _, rest = _text(key).partition(".")
        name, _, variable = rest.rpartition(".")
        if section == "submodule" and variable in ("path", "url"):
            entries.setdefault(name, {}).setdefault(variable, _text(value))
    for name, entry in entries.items():
        check_path("name", name)
        if "path" in entry:
            check_path("path", entry["path"])
    return {entry["path"]: entry["url"] for entry in entries.values() if len(entry) == 2}


def check_path(what: str, text: str) -> None:
    """Raise Refused unless this is a relative path that stays below its folder and outside of `.git`."""
    parts = [part.lower() for part in text.split("/")]
    if text.startswith("-") or _CONTROL.search(text) or {"", ".", "..", ".git"} & set(parts):
        raise Refused(f"the {what} {text[:200]!r} of a submodule is refused")


def check_folder(workspace: Path, folder: str) -> None:
    """Raise Refused unless the folder is empty, and neither it nor a folder above it is a symbolic link."""
    place = workspace
    try:
        for part in folder.split("/"):
            place /= part
            if not stat.S_ISDIR(place.lstat().st_mode):
                raise Refused("a symbolic link or a file is in the way")
        if any(place.iterdir()):
            raise Refused("its folder is not empty")
    except OSError as error:
        raise Refused(f"its folder can't be used: {error.strerror}") from error


def absolute_url(url: str, base: str) -> str:
    """Return the URL that is relative to the URL of the repository above, as git resolves it.

    Raises Refused if it would change the server.
    """
    if not url.startswith(("./", "../")):
        return url
    scheme, _, rest = base.partition("://")
    server, _, path = rest.partition("/")
    parts = [part for part in path.split("/") if part]
    while url.startswith(("./", "../")):
        dots, _, url = url.partition("/")
        if dots == ".." and not parts:
            raise Refused("its relative URL leaves the server")
        if dots == "..":
            parts.pop()
    return f"{scheme}://{server}/{'/'.join([*parts, url])}"


def commit_of(root: Commit, url: str, sha: str) -> tuple[Commit, dict[str, str]]:
    """Return the commit of a submodule, and the settings of git for its server. Raises Refused.

    The token of `root` goes only to the server of its URL.
    """
    scheme = url.partition("://")[0] if "://" in url else ""
    if scheme not in ("https", "http"):
        raise Refused(f"the URL {_shown(url)} is refused: {_ALLOWED}")
    if fault := clone_url_fault(url, allow_local=True):
        raise Refused(f"the URL {_shown(url)} is refused: {fault}")
    settings = {"http.followRedirects": "false"}
    same_server = address_of(url)[:3] == address_of(root.url)[:3]
    if not same_server:
        if fault := clone_url_fault(url, allow_local=False):
            raise Refused(f"the URL {_shown(url)} of another server is refused: {fault}")
        if url.split("/")[2].partition(":")[0].endswith("."):
            raise Refused(f"the URL {_shown(url)} is refused: its host ends in a dot")
        settings |= pinned(url)
    return (
        replace(
            root,
            url=url,
            sha=sha,
            ref=None,
            merge_sha=None,
            token=root.token if same_server and root.shares_token else None,
            protocols=scheme,
            tags=False,
            lfs=root.lfs and same_server,
        ),
        settings,
    )


def pinned(url: str) -> dict[str, str]:
    """Return the setting that makes git use the addresses that are checked here.

    The trailing dot keeps search domains out. The resolver limits its own time, to some seconds.
    """
    _, host, port, _ = address_of(url)
    if ":" in host or host.replace(".", "").isdigit():
        return {}  # an address, which is checked as part of the URL
    try:
        found = socket.getaddrinfo(f"{host}.", port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise Refused(f"the name {host} can't be resolved: {error.strerror}") from error
    addresses = dict.fromkeys(str(entry[4][0]) for entry in found)
    if not addresses or any(map(is_private, addresses)):
        raise Refused(f"the name {host} leads to a private address")
    return {"http.curloptResolve": f"{host}:{port}:{','.join(addresses)}"}


def _shown(url: str) -> str:
    return repr(re.sub(r"//[^/]*@", "//…@", url)[:200])


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise Refused("names, paths and URLs of submodules have to be UTF-8") from error


def _limited(content: bytearray) -> Sink:
    def sink(data: bytes) -> None:
        if len(content) + len(data) > _MODULES_BYTES:
            raise Refused(f"its file .gitmodules is larger than {_MODULES_BYTES >> 20} MiB")
        content.extend(data)

    return sink
