"""A private RabbitMQ node on loopback with its own epmd, for the packages of distributions.

It works with RabbitMQ 3.10 and newer, including 4.x. All files of the node are below its directory, it reads
nothing in /etc/rabbitmq, and every method is safe to repeat. Methods block, so event loops must call them in
a thread.
"""

import base64
import http.client
import json
import shutil
import signal
import socket
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
VHOST = "towpath"
"""The virtual host that a new node has."""

READY_SECONDS = 120
"""A start takes 5 to 8 s on an idle machine. Recovery of many queues on a busy one takes longer."""

STOP_SECONDS = 30
"""A stop usually takes 1 to 2 s."""

MANAGEMENT = "rabbitmq_management"
_AMQP_HEADER = b"AMQP\x00\x00\x09\x01"


def find_scripts() -> Path | None:
    """Return the folder of the original `rabbitmq-server` script.

    Debian's script on the PATH works only with the system's own node.
    """
    folders = [
        *Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"),
        *Path("/usr/lib/rabbitmq").glob("bin"),
    ]
    folders += [Path(found).resolve().parent for found in [shutil.which("rabbitmq-server")] if found]
    return next((folder for folder in folders if (folder / "rabbitmq-env").exists()), None)


class RabbitNode:
    """One RabbitMQ node.

    `management` loads the plugin with the HTTP API, for tests that create many virtual hosts. One takes 15 ms
    instead of 0.4 to 2 s with rabbitmqctl. Every clean stop then takes 5 s longer.
    """

    def __init__(self, directory: Path, *, port: int | None = None, management: bool = False) -> None:
        self.directory = directory
        self._wants_management = management
        self._configured_port = port
        self._server = PidFile(directory / "server.pid")
        self._beam = PidFile(directory / "beam.pid")
        self._epmd = PidFile(directory / "epmd.pid")
        self._ports_path = directory / "ports.json"

    @property
    def port(self) -> int:
        return self._ports()["amqp"]

    def url(self, vhost: str = VHOST) -> str:
        return f"amqp://{USER}:{self._password()}@127.0.0.1:{self.port}/{quote(vhost, safe='')}"

    def running(self) -> bool:
        return self._beam.read() is not None

    def start(self) -> None:
        """Start the node, or find it running. Return when it answers AMQP, which it does last."""
        server = self._server.read() or self._launch()
        if (
            not processes.wait_until(lambda: speaks_amqp(self.port) or not server.running(), READY_SECONDS)
            or not server.running()
        ):
            raise DevstackError(f"RabbitMQ is not ready:\n{processes.tail(self._log)}")
        beam = Process.of(int((self.directory / "node" / "pid").read_text()))
        if beam:
            self._beam.write(beam)

    def stop(self) -> None:
        """Stop the node and its epmd."""
        self.resume()
        server, everything = self._server.read(), self._everything()
        processes.stop([server] if server else [], grace_seconds=STOP_SECONDS)
        if not processes.wait_until(
            lambda: not any(process.running() for process in everything), STOP_SECONDS
        ):
            processes.kill(everything)
        epmd = self._epmd.read()
        processes.stop([epmd] if epmd else [], grace_seconds=2)
        for pid_file in (self._server, self._beam, self._epmd):
            pid_file.clear()

    def kill(self) -> None:
        """Send SIGKILL to the node. Its epmd continues, as if only the broker had crashed."""
        processes.kill(self._everything())
        self._beam.clear()
        self._server.clear()

    def pause(self) -> None:
        """Suspend the node. Connections stay open, and nothing answers."""
        beam = self._beam.read()
        if beam:
            beam.send(signal.SIGSTOP)

    def resume(self) -> None:
        beam = self._beam.read()
        if beam:
            beam.send(signal.SIGCONT)

    def add_vhost(self, name: str) -> None:
        """Create a virtual host on which the node's user has all permissions. Safe to repeat."""
        if self._has_management():
            self.manage("PUT", f"/vhosts/{quote(name, safe='')}")
            return
        if name not in self.control("list_vhosts", "--no-table-headers").splitlines():
            self.control("add_vhost", name)
        self.control("set_permissions", "-p", name, USER, ".*", ".*", ".*")

    def delete_vhost(self, name: str) -> None:
        """Delete a virtual host and everything in it. Do nothing if it does not exist."""
        if self._has_management():
            self.manage("DELETE", f"/vhosts/{quote(name, safe='')}")
        elif name in self.control("list_vhosts", "--no-table-headers").splitlines():
            self.control("delete_vhost", name)

    def manage(self, method: str, path: str, body: object = None) -> object:
        """Send a request to the management API of a node that has it. Return the decoded answer.

        Return None for an empty answer and for 404.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self._ports()["management"], timeout=30)
        credentials = base64.b64encode(f"{USER}:{self._password()}".encode()).decode()
        headers = {"Authorization": f"Basic {credentials}", "Content-Type": "application/json"}
        try:
            connection.request(method, "/api" + path, json.dumps(body or {}), headers)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status >= 400 and response.status != 404:
            raise DevstackError(
                f"RabbitMQ's {method} {path} answered {response.status}: {answer.decode(errors='replace')}"
            )
        return json.loads(answer) if answer and response.status != 404 else None

    def control(self, *arguments: str) -> str:
        """Run `rabbitmqctl`, and return its output. This starts an Erlang machine, which takes 1 to 2 s."""
        argv = [str(self._scripts() / "rabbitmqctl"), "--quiet", "--node", self._node_name, *arguments]
        done = subprocess.run(
            argv,
            capture_output=True,
            text=True,
            env=self._environment(),
            user=account_for("rabbitmq"),
            timeout=60,
            check=False,
        )
        if done.returncode != 0:
            raise DevstackError(f"rabbitmqctl {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    @property
    def _log(self) -> Path:
        return self.directory / "rabbitmq.log"

    @property
    def _node_name(self) -> str:
        return f"towpath-{self.port}@localhost"

    def _ports(self) -> dict[str, int]:
        return kept_ports(
            self._ports_path,
            {"amqp": self._configured_port, "distribution": None, "management": None, "epmd": None},
        )

    def _password(self) -> str:
        return kept_secret(self.directory / "password")

    def _scripts(self) -> Path:
        scripts = find_scripts()
        if scripts is None:
            raise DevstackError("no RabbitMQ server on this machine: install the package `rabbitmq-server`")
        return scripts

    def _has_management(self) -> bool:
        plugins = self._scripts().parent / "plugins"
        return self._wants_management and any(plugins.glob(f"{MANAGEMENT}-*"))

    def _everything(self) -> list[Process]:
        """Return the start script, the node and its port programs."""
        found = [process for process in (self._server.read(), self._beam.read()) if process]
        return list(
            dict.fromkeys([*found, *(below for process in found for below in processes.descendants(process))])
        )

    def _launch(self) -> Process:
        self._free_the_ports()
        self._write_configuration()
        account, environment, ports = account_for("rabbitmq"), self._environment(), self._ports()
        if self._epmd.read() is None:
            epmd = shutil.which("epmd")
            if epmd is None:
                raise DevstackError("epmd, which comes with Erlang, is not on the PATH")
            argv = [epmd, "-port", str(ports["epmd"]), "-address", "127.0.0.1"]
            processes.start(
                Command(argv, self.directory / "epmd.log", environment, self.directory / "node", account),
                self._epmd,
            )
        argv = [str(self._scripts() / "rabbitmq-server")]
        return processes.start(
            Command(argv, self._log, environment, self.directory / "node", account), self._server
        )

    def _free_the_ports(self) -> None:
        """Choose new ports for those that another program took while the node was down.

        The AMQP port cannot change, because it is part of the name of the data.
        """
        names = (
            ["distribution", "management"] if self._epmd.read() else ["distribution", "management", "epmd"]
        )
        for name in names:
            if not is_free(self._ports()[name]):
                forget_port(self._ports_path, name)
        if not is_free(self.port):
            raise DevstackError(f"port {self.port} on 127.0.0.1, RabbitMQ's, is taken by another program")

    def _write_configuration(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self.directory.chmod(0o711)
        account, ports = account_for("rabbitmq"), self._ports()
        node = own_directory(self.directory / "node", account)
        lines = [
            f"listeners.tcp.default = 127.0.0.1:{ports['amqp']}",
            f"default_user = {USER}",
            f"default_pass = {self._password()}",
            f"default_vhost = {VHOST}",
            "disk_free_limit.absolute = 64MB",
            "vm_memory_high_watermark.relative = 0.4",
        ]
        if self._has_management():
            lines += [
                "management.tcp.ip = 127.0.0.1",
                f"management.tcp.port = {ports['management']}",
                # The API is only for virtual hosts. Statistics would take time in benchmarks.
                "management_agent.disable_metrics_collector = true",
            ]
        (node / "enabled_plugins").write_text(f"[{MANAGEMENT if self._has_management() else ''}].\n")
        (node / "rabbitmq-env.conf").write_text("")
        configuration = node / "rabbitmq.conf"
        configuration.touch(mode=0o600)
        configuration.write_text("\n".join(lines) + "\n")
        if account is not None:
            shutil.chown(configuration, account)

    def _environment(self) -> dict[str, str]:
        node, ports = self.directory / "node", self._ports()
        values: dict[str, str | Path | int] = {
            "HOME": node,  # for Erlang's cookie
            "ERL_EPMD_PORT": ports["epmd"],
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": self._node_name,
            "RABBITMQ_NODE_PORT": ports["amqp"],
            "RABBITMQ_DIST_PORT": ports["distribution"],
            "RABBITMQ_MNESIA_BASE": node / "mnesia",
            "RABBITMQ_LOG_BASE": node / "log",
            "RABBITMQ_PID_FILE": node / "pid",
            "RABBITMQ_ENABLED_PLUGINS_FILE": node / "enabled_plugins",
            "RABBITMQ_CONFIG_FILE": node / "rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": node / "rabbitmq-env.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": node / "advanced.config",
            "RABBITMQ_GENERATED_CONFIG_DIR": node / "generated",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }
        return inherited_environment(self.directory, values)


def speaks_amqp(port: int) -> bool:
    """Return True if a RabbitMQ on loopback accepts connections and answers the protocol's header."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(_AMQP_HEADER)
            return connection.recv(1) == b"\x01"  # a method frame: Connection.Start
    except OSError:
        return False
