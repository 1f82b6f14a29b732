"""Installs the programs that Towpath needs with apt. It starts no daemons and changes no settings.

A policy file prevents packages from starting their daemons. It is removed after the installation, also after
an error. A policy file that existed before is kept.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from devstack.docker import docker_works
from devstack.errors import DevstackError
from devstack.places import open_temporary_file
from devstack.postgres import find_binaries
from devstack.rabbitmq import find_scripts

POLICY = Path("/usr/sbin/policy-rc.d")
_POLICY_TEXT = "#!/bin/sh\n# Nothing starts by itself while Towpath installs packages.\nexit 101\n"
LISTS = Path("/var/lib/apt/lists")
PROGRESS_SECONDS = 10


@dataclass(frozen=True)
class Program:
    """A program, a check for its presence, and its Debian package.

    `server`: Docker can run it instead. `optional`: Towpath runs without it.
    """

    title: str
    package: str
    present: Callable[[], bool]
    server: bool = False
    optional: bool = False


PROGRAMS = (
    Program("git", "git", lambda: shutil.which("git") is not None),
    Program(
        "git-lfs (jobs with `checkout: { lfs: true }`)",
        "git-lfs",
        lambda: shutil.which("git-lfs") is not None,
        optional=True,
    ),
    Program(
        "bubblewrap (keeps jobs apart)",
        "bubblewrap",
        lambda: shutil.which("bwrap") is not None,
        optional=True,
    ),
    Program(
        "slirp4netns (gives jobs a network of their own)",
        "slirp4netns",
        lambda: shutil.which("slirp4netns") is not None,
        optional=True,
    ),
    Program(
        "npm (the viewer of the page at /docs, and the tests' payloads)",
        "npm",
        lambda: shutil.which("npm") is not None,
        optional=True,
    ),
    Program("PostgreSQL", "postgresql", lambda: find_binaries() is not None, server=True),
    Program("RabbitMQ", "rabbitmq-server", lambda: find_scripts() is not None, server=True),
)

BROWSER = Program("Chromium (the browser tests)", "chromium", lambda: shutil.which("chromium") is not None)
"""Only tests need it. They are skipped without it."""


def install_browser(say: Callable[[str], None]) -> None:
    """Install Chromium if it is missing and apt can install it."""
    become_root = _become_root()
    if BROWSER.present() or shutil.which("apt-get") is None or become_root is None:
        return
    try:
        with _no_daemons(become_root):
            Apt(become_root, say).install(BROWSER)
    except DevstackError as error:
        say(f"going on without {BROWSER.title}: {error}")


def missing_servers() -> list[Program]:
    return [program for program in PROGRAMS if program.server and not program.present()]


def install_missing(say: Callable[[str], None]) -> None:
    """Install missing programs, with a line of output for each. Safe to repeat.

    It takes no time if nothing is missing. Raises DevstackError with the packages to install by hand if
    neither apt nor, for the servers, Docker can provide them.
    """
    missing = [program for program in PROGRAMS if not program.present()]
    if not missing:
        return
    become_root = _become_root()
    if shutil.which("apt-get") is None or become_root is None:
        _manage_without_apt(missing, say)
        return
    apt = Apt(become_root, say)
    with _no_daemons(become_root):
        for program in missing:
            try:
                apt.install(program)
            except DevstackError as error:
                if not program.optional:
                    raise
                say(f"going on without {program.title}: {error}")


class Apt:
    """Runs apt-get as root. Its output goes to a log that is shown if it fails."""

    def __init__(self, become_root: list[str], say: Callable[[str], None]) -> None:
        self._become_root = become_root
        self._say = say
        self._log = open_temporary_file("towpath-apt-", ".log")
        self._updated = False

    def install(self, program: Program) -> None:
        """Install one package with its dependencies.

        Old package lists are a usual cause of failures, so a failed installation is repeated once with new
        lists.
        """
        started_at = time.monotonic()
        self._say(f"installing {program.title} (package {program.package}; log: {self._log})")
        if not any(LISTS.glob("*Packages*")):
            self._update()
        if not self._run("install", "--yes", "--no-install-recommends", program.package):
            self._update()
            if not self._run("install", "--yes", "--no-install-recommends", program.package):
                raise DevstackError(f"apt-get cannot install {program.package}:\n{self._log_end()}")
        if not program.present():
            raise DevstackError(
                f"{program.package} is installed, but its programs are not where they are looked for; "
                f"install {program.title} by hand"
            )
        self._say(f"  done in {time.monotonic() - started_at:.0f} s")

    def _update(self) -> None:
        if not self._updated:
            self._say("  fetching the package lists")
            self._updated = self._run("update")

    def _run(self, *arguments: str) -> bool:
        """Return True if apt-get succeeded. Print the elapsed time every few seconds."""
        environment = ["env", "DEBIAN_FRONTEND=noninteractive", "NEEDRESTART_SUSPEND=1"]
        argv = [
            *self._become_root,
            *environment,
            "apt-get",
            "-q",
            "-o",
            "DPkg::Lock::Timeout=300",
            *arguments,
        ]
        started_at = time.monotonic()
        with (
            self._log.open("ab") as log,
            subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as apt,
        ):
            while True:
                try:
                    return apt.wait(timeout=PROGRESS_SECONDS) == 0
                except subprocess.TimeoutExpired:
                    self._say(f"  … {time.monotonic() - started_at:.0f} s")

    def _log_end(self) -> str:
        return "\n".join(f"  {line}" for line in self._log.read_text(errors="replace").splitlines()[-20:])


def _become_root() -> list[str] | None:
    """Return the words that run a command as root, or None if that is not possible."""
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is None:
        return None
    sudo = ["sudo"] if sys.stdin.isatty() else ["sudo", "--non-interactive"]
    return (
        sudo
        if subprocess.run([*sudo, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0
        else None
    )


def _manage_without_apt(missing: list[Program], say: Callable[[str], None]) -> None:
    servers = [program for program in missing if program.server]
    by_docker = servers if servers and docker_works() else []
    by_hand = [program for program in missing if program not in by_docker and not program.optional]
    if by_hand:
        wanted = ", ".join(f"{program.title} (Debian's package: {program.package})" for program in by_hand)
        raise DevstackError(
            f"please install: {wanted}. It can be done here neither by apt, as root or through sudo, nor, "
            "for the servers, by Docker."
        )
    for program in missing:
        say(
            f"{program.title} is not installed: "
            + ("Docker runs it" if program in by_docker else "going on without it")
        )


@contextlib.contextmanager
def _no_daemons(become_root: list[str]) -> Iterator[None]:
    """Prevent packages from starting their daemons.

    invoke-rc.d calls policy-rc.d; its exit code 101 forbids the start.
    """
    if POLICY.exists():
        yield
        return
    with tempfile.NamedTemporaryFile("w", prefix="towpath-policy-") as policy:
        policy.write(_POLICY_TEXT)
        policy.flush()
        subprocess.run([*become_root, "install", "-m", "755", policy.name, str(POLICY)], check=True)
    try:
        yield
    finally:
        subprocess.run([*become_root, "rm", "-f", str(POLICY)], check=True)
