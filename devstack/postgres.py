"""A private PostgreSQL node on loopback. It is created by initdb with a generated password.

The node runs as an unprivileged account. All its files are below its directory, and every method is safe to
repeat. Methods block, so event loops must call them in a thread.
"""

import contextlib
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

from devstack import processes
from devstack.errors import DevstackError
from devstack.places import account_for, kept_secret, own_directory
from devstack.ports import forget_port, is_free, kept_ports
from devstack.processes import Command, PidFile, Process
from devstack.settings import inherited_environment

USER = "towpath"
READY_SECONDS = 60
"""A start after SIGKILL replays the write-ahead log first. A clean start takes about a second."""

STOP_SECONDS = 60
"""The node writes a last checkpoint before it ends."""

_STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


def find_binaries() -> Path | None:
    """Return the folder of the newest PostgreSQL server on this machine. Debian's is not on the PATH."""
    folders = [Path(found).resolve().parent for found in [shutil.which("postgres")] if found]
    folders += Path("/usr/lib/postgresql").glob("*/bin")
    usable = [folder for folder in folders if (folder / "postgres").exists() and (folder / "initdb").exists()]
    return max(
        usable,
        key=lambda folder: int(folder.parent.name) if folder.parent.name.isdigit() else 0,
        default=None,
    )


class PostgresNode:
    """One PostgreSQL node.

    `durable=False` disables fsync and is for tests only. The data then survives SIGKILL but not a crash of
    the machine.
    """

    def __init__(self, directory: Path, *, port: int | None = None, durable: bool = True) -> None:
        self.directory = directory
        self._configured_port = port
        self._durable = durable
        self._pid_file = PidFile(directory / "postgres.pid")
        self._ports_path = directory / "ports.json"

    @property
    def port(self) -> int:
        return kept_ports(self._ports_path, {"postgres": self._configured_port})["postgres"]

    def url(self, database: str) -> str:
        return f"postgresql://{USER}:{self._password()}@127.0.0.1:{self.port}/{quote(database)}"

    def running(self) -> bool:
        return self._pid_file.read() is not None

    def start(self) -> None:
        """Start the node, or find it running. Return when it accepts connections."""
        process = self._pid_file.read() or self._launch()
        if (
            not processes.wait_until(lambda: self._ready(process) or not process.running(), READY_SECONDS)
            or not process.running()
        ):
            raise DevstackError(f"PostgreSQL is not ready:\n{processes.tail(self._log)}")

    def stop(self, mode: str = "fast") -> None:
        """Stop the node. `smart` waits for clients and `fast` disconnects them.

        `immediate` ends without a checkpoint, so the next start needs recovery.
        """
        self.resume()
        process = self._pid_file.read()
        if process:
            below = processes.descendants(process)
            processes.stop([process], grace_seconds=STOP_SECONDS, first=_STOP_SIGNALS[mode])
            processes.kill(below)
        self._pid_file.clear()

    def kill(self) -> None:
        """Send SIGKILL to all its processes at once, as in a crash."""
        process = self._pid_file.read()
        if process:
            processes.kill([process, *processes.descendants(process)])
        self._pid_file.clear()

    def pause(self) -> None:
        """Suspend all its processes with SIGSTOP. Connections stay open, and nothing answers."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    @property
    def _log(self) -> Path:
        return self.directory / "postgres.log"

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    def _signal_all(self, number: signal.Signals) -> None:
        process = self._pid_file.read()
        for each in [process, *processes.descendants(process)] if process else []:
            each.send(number)

    def _launch(self) -> Process:
        binaries = find_binaries()
        if binaries is None:
            raise DevstackError("no PostgreSQL server on this machine: install the package `postgresql`")
        account = account_for("postgres")
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o711)
        if not (self._data / "PG_VERSION").exists():
            self._initialise(binaries, account)
        if not self._configured_port and not is_free(self.port):
            forget_port(self._ports_path, "postgres")
        # The node is known to be down. A file that is left after a kill may name the pid of another program.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        argv = [str(binaries / "postgres"), "-D", str(self._data)]
        for name, value in self._settings().items():
            argv += ["-c", f"{name}={value}"]
        return processes.start(
            Command(argv, self._log, inherited_environment(self.directory, {}), self._data, account),
            self._pid_file,
        )

    def _settings(self) -> dict[str, str | int]:
        durable = "on" if self._durable else "off"
        return {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            # The path of a Unix socket is limited to 107 bytes. TCP on loopback has no such limit.
            "unix_socket_directories": "",
            "max_connections": 200 if self._durable else 600,  # tests run several installations
            "shared_buffers": "256MB" if self._durable else "128MB",
            "max_wal_size": "2GB" if self._durable else "512MB",
            "fsync": durable,
            "full_page_writes": durable,
            "timezone": "UTC",
            "log_timezone": "UTC",
        }

    def _initialise(self, binaries: Path, account: str | None) -> None:
        shutil.rmtree(self._data, ignore_errors=True)
        own_directory(self._data, account)
        password_file = self._data.with_name("initial-password")
        password_file.touch(mode=0o600)
        password_file.write_text(self._password())
        if account is not None:
            shutil.chown(password_file, account)
        argv = [
            str(binaries / "initdb"),
            "-D",
            str(self._data),
            "-U",
            USER,
            "--auth=scram-sha-256",
            f"--pwfile={password_file}",
        ]
        argv += [
            "--encoding=UTF8",
            "--locale=C",
            "--no-instructions",
            *([] if self._durable else ["--no-sync"]),
        ]
        groups: list[int] | None = None if account is None else []
        made = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            cwd=self.directory,
            user=account,
            extra_groups=groups,
            check=False,
        )
        password_file.unlink()
        if made.returncode != 0:
            shutil.rmtree(self._data, ignore_errors=True)
            raise DevstackError(f"initdb failed:\n{made.stdout}{made.stderr}")

    def _ready(self, process: Process) -> bool:
        """Return True if the server is ready, according to line 8 of postmaster.pid.

        PostgreSQL documents this file, and pg_ctl reads the same line.
        """
        with contextlib.suppress(OSError):
            lines = (self._data / "postmaster.pid").read_text().splitlines()
            return len(lines) >= 8 and lines[0] == str(process.pid) and lines[7].strip() == "ready"
        return False

    def _password(self) -> str:
        return kept_secret(self.directory / "password")
