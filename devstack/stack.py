"""Towpath's services as processes on loopback: starts, checks, stops and kills them.

`make up` and the tests use it. It needs the addresses of the servers and a directory, and works with any
servers. Methods block, so event loops must call them in a thread.
"""

import http.client
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from devstack import processes
from devstack.errors import DevstackError
from devstack.pods import end_pods
from devstack.ports import forget_port, is_free, kept_ports
from devstack.processes import Command, PidFile, Process
from devstack.settings import inherited_environment
from devstack.state import key_file

CHECKOUT = Path(__file__).resolve().parent.parent
SERVICES = ("gateway", "scheduler", "executor", "logsink")
GATEWAY_PORT = 8420
STOP_SECONDS = 40
"""A service takes up to 20 s to finish what it has begun."""

_GATEWAY_ONLY = {"TOWPATH_GITHUB_WEBHOOK_SECRET", "TOWPATH_GITEA_WEBHOOK_SECRET"}


class Programs(Protocol):
    """Starts programs of Python modules (`python -m`)."""

    def start(self, command: Command, pid_file: PidFile) -> Process:
        """Do the same as `devstack.processes.start`."""

    def run(self, command: Command) -> str:
        """Run a program to its end and return what it printed.

        Raises DevstackError with its output if it fails.
        """


class NewPrograms:
    """Runs each program in a new Python process."""

    def start(self, command: Command, pid_file: PidFile) -> Process:
        return processes.start(command, pid_file)

    def run(self, command: Command) -> str:
        done = subprocess.run(
            command.argv,
            capture_output=True,
            text=True,
            env=command.environment,
            cwd=command.directory,
            timeout=300,
            check=False,
        )
        if done.returncode != 0:
            raise DevstackError(f"{' '.join(command.argv)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout


@dataclass(frozen=True)
class Stack:
    """The services of one installation.

    Every service gets `extra_env`, but only the gateway gets webhook secrets. Replicas are numbered from 1.
    Each has its own pid file, log and port.
    """

    directory: Path
    database_url: str
    amqp_url: str
    extra_env: Mapping[str, str] = field(default_factory=dict)
    gateway_port: int | None = None
    """None selects a free port."""
    programs: Programs = field(default_factory=NewPrograms)

    def start(self, service: str, replica: int = 1, env: Mapping[str, str] | None = None) -> Process:
        """Start a replica, or find it running. It may not be ready yet.

        `env` applies to this start only.
        """
        name = _name(service, replica)
        running = self._pid_file(name).read()
        if running:
            return running
        if not is_free(self.port(service, replica)):
            self._choose_another_port(name)
        environment = {**self.environment(service, replica), **(env or {})}
        command = _python_m(f"services.{service}", self.log(service, replica), environment)
        return self.programs.start(command, self._pid_file(name))

    def wait_ready(self, service: str, replica: int = 1, seconds: float = 60) -> None:
        """Return when `/readyz` answers 200.

        Raises DevstackError with the end of the log if the process ends or the time is over.
        """
        pid_file = self._pid_file(_name(service, replica))
        processes.wait_until(lambda: self.ready(service, replica) or pid_file.read() is None, seconds)
        if not self.ready(service, replica):
            what = "is not ready" if pid_file.read() else "ended"
            raise DevstackError(
                f"{_name(service, replica)} {what}; its log ends "
                f"with:\n{processes.tail(self.log(service, replica))}"
            )

    def ready(self, service: str, replica: int = 1) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port(service, replica), timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self, service: str, replica: int = 1) -> None:
        """Send SIGTERM, wait for a limited time, then send SIGKILL."""
        process = self.process(service, replica)
        processes.stop([process] if process else [], grace_seconds=STOP_SECONDS)
        self._pid_file(_name(service, replica)).clear()

    def kill(self, service: str, replica: int = 1) -> None:
        """Send SIGKILL to the process only. Its child processes continue, as after a crash."""
        process = self.process(service, replica)
        if process:
            process.send(signal.SIGKILL)
            processes.wait_until(lambda: not process.running(), 10)
        self._pid_file(_name(service, replica)).clear()

    def pause(self, service: str, replica: int = 1) -> None:
        self._send(service, replica, signal.SIGSTOP)

    def resume(self, service: str, replica: int = 1) -> None:
        self._send(service, replica, signal.SIGCONT)

    def stop_all(self) -> None:
        """Stop all services at once, then the local cluster's jobs, then the other processes of this stack.

        They are found by this stack's mark in their environment.
        """
        names = self.running()
        processes.stop([process for process in map(self._read, names) if process], grace_seconds=STOP_SECONDS)
        for name in names:
            self._pid_file(name).clear()
        end_pods(self.local_directory / "pods")
        processes.stop(processes.of_stack(self.directory / "services"), grace_seconds=5)

    def running(self) -> list[str]:
        """Return the names of the running replicas: `gateway`, `gateway-2`, and so on."""
        names = sorted(path.stem for path in (self.directory / "pids").glob("*.pid"))
        return [name for name in names if self._read(name)]

    def process(self, service: str, replica: int = 1) -> Process | None:
        return self._read(_name(service, replica))

    def port(self, service: str, replica: int = 1) -> int:
        name = _name(service, replica)
        return kept_ports(self._ports_path, {name: self.gateway_port if name == "gateway" else None})[name]

    def address(self, service: str = "gateway", replica: int = 1) -> str:
        return f"http://127.0.0.1:{self.port(service, replica)}"

    def log(self, service: str, replica: int = 1) -> Path:
        return self.directory / "logs" / f"{_name(service, replica)}.log"

    @property
    def local_directory(self) -> Path:
        """The directory in which the local cluster keeps its pods."""
        return self.directory / "local"

    def environment(self, service: str, replica: int = 1) -> dict[str, str]:
        """Return the environment of a service. The services' `settings` modules explain the variables."""
        values: dict[str, str | Path | int] = {
            "PYTHONUNBUFFERED": "1",
            "TOWPATH_DATABASE_URL": self.database_url,
            "TOWPATH_AMQP_URL": self.amqp_url,
            "TOWPATH_ENCRYPTION_KEY_FILE": key_file(self.directory),
            "TOWPATH_HTTP_HOST": "127.0.0.1",
            "TOWPATH_HTTP_PORT": self.port(service, replica),
            "TOWPATH_PUBLIC_URL": self.address(),
            "TOWPATH_LOCAL_DIR": self.local_directory,
            # A server that a demo or a test connects to may have a default password.
            "TOWPATH_ALLOW_DEFAULT_PASSWORDS": "true",
        }
        own = {
            name: value
            for name, value in self.extra_env.items()
            if service == "gateway" or name not in _GATEWAY_ONLY
        }
        return inherited_environment(self.directory / "services", {**values, **own})

    def run_module(self, module: str) -> str:
        """Run a one-time program to its end and return what it printed.

        These are `shared.database.migrate` and `services.gateway.bootstrap`.
        """
        return self.programs.run(
            _python_m(module, self.directory / "logs" / f"{module}.log", self.environment("gateway"))
        )

    @property
    def _ports_path(self) -> Path:
        return self.directory / "ports.json"

    def _pid_file(self, name: str) -> PidFile:
        return PidFile(self.directory / "pids" / f"{name}.pid")

    def _read(self, name: str) -> Process | None:
        return self._pid_file(name).read()

    def _send(self, service: str, replica: int, number: signal.Signals) -> None:
        process = self.process(service, replica)
        if process:
            process.send(number)

    def _choose_another_port(self, name: str) -> None:
        if name == "gateway" and self.gateway_port:
            raise DevstackError(
                f"port {self.gateway_port} on 127.0.0.1, the gateway's, is taken by another program"
            )
        forget_port(self._ports_path, name)


def _python_m(module: str, log: Path, environment: Mapping[str, str]) -> Command:
    return Command([sys.executable, "-m", module], log, environment, CHECKOUT)


def _name(service: str, replica: int) -> str:
    return service if replica == 1 else f"{service}-{replica}"
