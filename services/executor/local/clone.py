"""The container `clone`: fetches exactly one commit into the workspace, by git without a shell.

Credentials exist only in the environment of git's own processes. What a server or a repository says never becomes an option or a command: revisions are
hexadecimal, a ref must look like one, hooks and submodules are off, and git speaks only the protocols that were allowed.
"""

import base64
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from services.executor.local.container import Ended, Limits, run_container
from services.executor.local.cri_log import CriLog
from services.executor.local.order import CloneOrder
from services.executor.local.pod_files import MARK, CloneStatus, PodFiles
from services.executor.local.processes import SYSTEM_PATH, Command
from services.executor.local.wakes import Wakes

_REVISION = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
_REF = re.compile(r"refs/[^\x00-\x20\x7f:*?\[\\^~]+\Z")
_REFUSALS = (b"unadvertised object", b"not our ref")
_SETTINGS = {
    "core.hooksPath": "/dev/null",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "advice.detachedHead": "false",
    "submodule.recurse": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "60",
}


@dataclass(frozen=True, slots=True)
class _Place:
    """Where it happens, and what is written meanwhile."""

    files: PodFiles
    uid: str
    limits: Limits
    wakes: Wakes
    log: CriLog


def clone(order: CloneOrder, files: PodFiles, uid: str, limits: Limits, wakes: Wakes) -> CloneStatus:
    """Fetch and check out. The log is complete when this returns."""
    limits = replace(limits, deadline=min(limits.deadline, time.monotonic() + order.seconds))
    log = CriLog(os.open(files.log("clone"), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC))
    try:
        return _Clone(order, _Place(files, uid, limits, wakes, log)).run()
    finally:
        log.close()


class _GaveUp(Exception):
    """A git command that had to work did not."""

    def __init__(self, ended: Ended) -> None:
        self.ended = ended


class _Clone:
    def __init__(self, order: CloneOrder, place: _Place) -> None:
        self._order = order
        self._place = place
        self._tail = b""  # of what the last command said

    def run(self) -> CloneStatus:
        try:
            _make_repository(self._place.files.workspace, self._order)
            self._must("checkout", "--quiet", "--force", "--detach", self._fetch())
        except _GaveUp as error:
            return CloneStatus(error.ended.exit_code or 1, self._complaint(), error.ended.stopped, error.ended.timed_out)
        return CloneStatus(0, "", stopped=False, timed_out=False)

    def _fetch(self) -> str:
        """The commit to build: the merge of a pull request only where it merges the very head of the event."""
        order = self._order
        if order.merge_sha is not None and self._fetch_revision(order.merge_sha).exit_code == 0:
            if order.sha in self._parents(order.merge_sha):
                self._say(f"Building {order.merge_sha}, the merge of {order.sha}.")
                return order.merge_sha
            self._say(f"{order.merge_sha} does not merge {order.sha}: building the head itself.")
        ended = self._fetch_revision(order.sha)
        if ended.exit_code != 0 and order.ref is not None and _REF.match(order.ref) and any(text in self._tail for text in _REFUSALS):
            self._say(f"The server gives out no commit by its SHA: fetching {order.ref}.")
            ended = self._git(self._log, "fetch", "--no-tags", "--no-recurse-submodules", "--end-of-options", order.url, order.ref)
        if ended.exit_code != 0:
            raise _GaveUp(ended)
        return order.sha

    def _fetch_revision(self, revision: str) -> Ended:
        if not _REVISION.match(revision):
            self._say(f"fatal: not a commit's SHA: {revision[:80]!r}")
            return Ended(128, timed_out=False, stopped=False)
        depth = [f"--depth={self._order.depth}"] if self._order.depth > 0 else []
        ended = self._git(self._log, "fetch", "--no-tags", "--no-recurse-submodules", *depth, "--end-of-options", self._order.url, revision)
        if ended.stopped or ended.timed_out:
            raise _GaveUp(ended)
        return ended

    def _parents(self, revision: str) -> list[str]:
        """From the raw object: what a shallow repository shows as parents are those it has."""
        raw = bytearray()
        ended = self._git(raw.extend, "cat-file", "commit", revision)
        if ended.exit_code != 0:
            raise _GaveUp(ended)
        header = raw.partition(b"\n\n")[0].decode("utf-8", "replace")
        return [line.removeprefix("parent ") for line in header.split("\n") if line.startswith("parent ")]

    def _must(self, *arguments: str) -> None:
        ended = self._git(self._log, *arguments)
        if ended.exit_code != 0 or ended.stopped or ended.timed_out:
            raise _GaveUp(ended)

    def _git(self, sink: Callable[[bytes], object], *arguments: str) -> Ended:
        if self._place.limits.stop_requested():  # its signal may have been heard together with the end of the command before
            raise _GaveUp(Ended(143, timed_out=False, stopped=True))
        environment = {
            "PATH": SYSTEM_PATH,
            "HOME": str(self._place.files.git),  # holds .gitconfig, the only settings that a local upload-pack reads too
            "LC_ALL": "C.UTF-8",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": self._order.protocols,
            MARK: self._place.uid,
            **_settings(self._order, secret=arguments[0] == "fetch"),
        }
        self._tail = b""
        command = Command(("git", *arguments), environment, str(self._place.files.workspace), self._order.runner)
        return run_container(command, self._place.limits, self._place.wakes, sink)

    def _log(self, data: bytes) -> None:
        self._tail = (self._tail + data)[-4096:]
        self._place.log.write(data)

    def _say(self, text: str) -> None:
        self._log(text.encode("utf-8", "replace") + b"\n")

    def _complaint(self) -> str:
        """Git's first fatal line: those behind it are advice."""
        lines = [line for line in self._tail.decode("utf-8", "replace").splitlines() if line.strip()]
        fatal = [line for line in lines if line.startswith("fatal: ")]
        return (fatal or lines[-1:] or ["git ended without a word"])[0][:500]


def _settings(order: CloneOrder, *, secret: bool) -> dict[str, str]:
    """As GIT_CONFIG_* variables. The token is bound to the server of the clone URL, and goes nowhere else: with it, redirects are refused."""
    settings = dict(_SETTINGS)
    if secret and order.token is not None:
        basic = base64.b64encode(f"x-access-token:{order.token}".encode()).decode()
        settings |= {f"http.{_server(order.url)}.extraHeader": f"Authorization: Basic {basic}", "http.followRedirects": "false"}
    variables = {"GIT_CONFIG_COUNT": str(len(settings))}
    for index, (key, value) in enumerate(settings.items()):
        variables |= {f"GIT_CONFIG_KEY_{index}": key, f"GIT_CONFIG_VALUE_{index}": value}
    return variables


def _server(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}/"


def _make_repository(workspace: Path, order: CloneOrder) -> None:
    """What `git init` and `git remote add` would make, without two processes. A URL is written as a quoted value."""
    git = workspace / ".git"
    quoted = order.url.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "")
    object_format: Literal["sha1", "sha256"] = "sha256" if len(order.sha) == 64 else "sha1"
    version, extension = (1, f"[extensions]\n\tobjectformat = {object_format}\n") if object_format == "sha256" else (0, "")
    for folder in ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info"):
        (git / folder).mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n", encoding="utf-8")
    core = f"[core]\n\trepositoryformatversion = {version}\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n"
    (git / "config").write_text(f'{core}{extension}[remote "origin"]\n\turl = "{quoted}"\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n', encoding="utf-8")
    if order.runner.owner is not None:
        give_away(workspace, order.runner.owner)


def give_away(tree: Path, owner: tuple[int, int]) -> None:
    """Everything below and the folder itself gets this owner; links are not followed."""
    for _, folders, names, descriptor in os.fwalk(tree):
        for name in (*folders, *names):
            os.chown(name, *owner, dir_fd=descriptor, follow_symlinks=False)
    os.chown(tree, *owner)
