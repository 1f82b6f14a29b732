"""Asks a repository's server, by git, which commit a ref names and whether a branch or tag has a commit.

It runs in the executor's own process, which has the clone credentials, so every call is limited: in time, in
output, in the size of files, and in the number of calls at once. git runs without a shell, in an empty folder
that is removed afterwards. Revisions are hexadecimal and refs follow `--end-of-options`.
"""

import asyncio
import os
import re
import resource
import signal
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from services.executor.checkout import Commit, git_variables
from services.executor.submodules import Refused, pinned
from shared.clone_urls import clone_url_fault

_REVISION = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})\Z")
_OUTPUT_BYTES = 16 << 20
"""About 200,000 refs."""
_FILE_BYTES = 96 << 20
"""Limit of the commits that are fetched to search for one. On Kubernetes, /tmp has 128 MiB."""
_CHUNK_BYTES = 64 << 10


class NotAnswered(Exception):
    """The server did not give an answer. The text says why, for people."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The server's answer. `outcome` is resolved, ref_gone or sha_unreachable."""

    outcome: str
    sha: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Question:
    """A ref whose commit is wanted, or a commit that a branch or tag has to reach."""

    url: str
    ref: str | None
    sha: str | None
    token: str | None = field(repr=False)


class GitQueries:
    """Answers questions, some at once."""

    def __init__(self, *, seconds: float, at_once: int, allow_local: bool) -> None:
        self._seconds = seconds
        self._places = asyncio.Semaphore(at_once)
        self._allow_local = allow_local

    async def answer(self, question: Question) -> Answer:
        """Return the server's answer. Raises NotAnswered."""
        async with self._places:
            settings = await self._guarded(question.url)
            protocols = "https:http:file" if self._allow_local else "https"
            commit = Commit(question.url, question.sha or "", None, None, 0, question.token, protocols)
            with tempfile.TemporaryDirectory(prefix="towpath-ref-") as folder:
                # Only settings in a file reach the server's side of a file:// URL.
                (Path(folder) / ".gitconfig").write_text("[safe]\n\tdirectory = *\n", encoding="utf-8")
                git = _Git(folder, git_variables(commit, settings, secret=True))
                try:
                    async with asyncio.timeout(self._seconds):
                        if question.ref is not None:
                            return await _commit_of(git, question.url, question.ref)
                        return await _reached(git, question.url, question.sha or "")
                except TimeoutError as error:
                    raise NotAnswered(f"It took longer than {self._seconds:g} seconds.") from error

    async def _guarded(self, url: str) -> Mapping[str, str]:
        """Return the settings of git for the URL's server. Raises NotAnswered if it may not be asked.

        The executor may reach servers that jobs can't reach. Only public addresses are asked, and git uses
        those that were checked.
        """
        settings = {"http.followRedirects": "false"}
        if fault := clone_url_fault(url, allow_local=self._allow_local):
            raise NotAnswered(f"The clone URL is refused: {fault}")
        if self._allow_local:
            return settings
        try:
            return settings | await asyncio.to_thread(pinned, url)
        except Refused as error:
            raise NotAnswered(f"The clone URL is refused: {error}.") from error


async def _commit_of(git: "_Git", url: str, ref: str) -> Answer:
    refs = await git.refs(url, ref, f"{ref}^{{}}")
    sha = refs.get(f"{ref}^{{}}", refs.get(ref))
    if sha is None:
        return Answer("ref_gone", None, f"The repository has no {ref}.")
    return Answer("resolved", sha, f"{ref} is {sha}.")


async def _reached(git: "_Git", url: str, sha: str) -> Answer:
    """Search the tips of branches and tags, then their history.

    A server may give out a commit by its SHA that only a fork has, so being able to fetch it proves nothing.
    """
    if not _REVISION.match(sha):
        return Answer("sha_unreachable", None, "This is not the full SHA of a commit.")
    refs = await git.refs(url, "refs/heads/*", "refs/tags/*")
    name = next((ref for ref, at in refs.items() if at == sha), None)
    if name is None:
        name = await _ref_that_contains(git, url, sha)
    if name is None:
        return Answer("sha_unreachable", None, f"No branch or tag of the repository has the commit {sha}.")
    return Answer("resolved", sha, f"{name.removesuffix('^{}')} has the commit {sha}.")


async def _ref_that_contains(git: "_Git", url: str, sha: str) -> str | None:
    kind = ["--object-format=sha256"] if len(sha) == 64 else []
    await git.must("init", "--quiet", "--bare", "--template=", *kind, ".")
    specs = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
    fetch = ("fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--filter=tree:0")
    await git.must(*fetch, "--end-of-options", url, *specs)
    # In a repository with a filter, git would fetch a missing object.
    exit_code, _ = await git.run("-c", "protocol.allow=never", "cat-file", "-e", f"{sha}^{{commit}}")
    if exit_code != 0:
        return None
    names = ("for-each-ref", "--count=1", "--format=%(refname)", f"--contains={sha}")
    return (await git.must(*names)).decode("utf-8", "replace").strip() or None


class _Git:
    """Runs git in a folder."""

    def __init__(self, folder: str, variables: Mapping[str, str]) -> None:
        self._folder = folder
        self._variables = {**variables, "PATH": os.defpath, "HOME": folder}

    async def refs(self, url: str, *patterns: str) -> dict[str, str]:
        """Return the server's refs that match, with their SHAs. An annotated tag also has `name^{}`."""
        output = await self.must("ls-remote", "--quiet", "--end-of-options", url, *patterns)
        lines = (line.partition("\t") for line in output.decode("utf-8", "replace").splitlines())
        return {name: sha for sha, _, name in lines if name.startswith("refs/") and _REVISION.match(sha)}

    async def must(self, *arguments: str) -> bytes:
        """Return the output. Raises NotAnswered if git fails."""
        exit_code, output = await self.run(*arguments)
        if exit_code != 0:
            lines = [line for line in output.decode("utf-8", "replace").splitlines() if line.strip()]
            fatal = [line for line in lines if line.startswith("fatal: ")]
            raise NotAnswered((fatal or lines[-1:] or ["git ended without a word"])[0][:500])
        return output

    async def run(self, *arguments: str) -> tuple[int, bytes]:
        """Return the exit code and the output. Raises NotAnswered if there is too much output."""
        process = await asyncio.create_subprocess_exec(
            "git",
            *arguments,
            cwd=self._folder,
            env=self._variables,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        output = bytearray()
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        try:
            with suppress(ProcessLookupError):
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
            while chunk := await process.stdout.read(_CHUNK_BYTES):
                output += chunk
                if len(output) > _OUTPUT_BYTES:
                    raise NotAnswered("The repository has too many branches and tags.")
            return await process.wait(), bytes(output)
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
