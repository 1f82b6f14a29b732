"""Tests of the network of a job of the local cluster."""

import contextlib
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from services.executor.local.backend import LocalBackend
from services.executor.local.network_choice import SHARED_NETWORK, NetworkWish
from services.executor.local.processes import descendants, start_time
from services.executor.local.sandbox import Sandbox, SandboxUnusable
from tests.contracts.clusters import INSTALLATION, LIMITS, Origin, begin, end_of, log_of, run, said, spec
from tests.harness.waiting import until

ABSENT = NetworkWish("auto", "towpath-no-such-program")


@asynccontextmanager
async def opened(folder: Path, sandbox: Sandbox, network: NetworkWish) -> AsyncIterator[LocalBackend]:
    async with LocalBackend(folder / "local", INSTALLATION, sandbox, LIMITS, network) as cluster:
        yield cluster
        for left in await cluster.everything():
            await cluster.remove(left.name, left.object_uid)


@pytest.fixture
async def isolated(folder: Path, sandbox: Sandbox) -> AsyncIterator[LocalBackend]:
    try:
        async with opened(folder, sandbox, NetworkWish("own")) as cluster:
            yield cluster
    except SandboxUnusable as error:
        pytest.skip(str(error))


@contextlib.contextmanager
def listening(address: tuple[str, int] | str) -> Iterator[socket.socket]:
    """Run a server that greets each client."""
    family = (
        socket.AF_UNIX
        if isinstance(address, str)
        else socket.AF_INET6
        if ":" in address[0]
        else socket.AF_INET
    )
    with socket.socket(family) as server:
        server.bind(address)
        server.listen()
        thread = threading.Thread(target=_greet, args=[server])
        thread.start()
        try:
            yield server
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()


def _greet(server: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            with connection:
                connection.sendall(b"hello")


def asking(*addresses: tuple[str, int] | str) -> str:
    """Return a script that prints for each address what its server sends, or `refused`."""
    return f"""exec python3 - <<'END'
import socket
for address in {list(addresses)!r}:
    kind = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    kind = socket.AF_UNIX if isinstance(address, str) else kind
    with socket.socket(kind) as client:
        client.settimeout(10)
        try:
            client.connect(address)
            print((client.recv(5) if address[1] else b"").decode())
        except OSError:
            print("refused")
END
"""


def other_address() -> str:
    """Return an address of this machine that is not loopback. No packet is sent to find it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(asked.getsockname()[0])


async def test_x12_a_job_can_not_connect_to_postgresql_and_rabbitmq(
    isolated: LocalBackend, server_url: str, session_amqp_url: str
) -> None:
    servers = [urlsplit(url) for url in (server_url, session_amqp_url)]
    ports = [server.port or 0 for server in servers if server.hostname in {"127.0.0.1", "localhost"}]
    if not ports:
        pytest.skip("the servers of these tests are not on loopback")
    for port in ports:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    addresses = [(host, port) for host in ("127.0.0.1", "10.0.2.2", "10.0.2.3") for port in ports]
    end, log = await run(isolated, spec(asking(*addresses)))
    assert (end.exit_code, log) == (0, "refused\n" * len(addresses))


async def test_x12_a_job_sees_nothing_of_the_machines_loopback(isolated: LocalBackend) -> None:
    with (
        listening(("127.0.0.1", 0)) as four,
        listening(("::1", 0)) as six,
        listening("\0towpath-test-x12") as unix,
    ):
        places = [
            ("127.0.0.1", four.getsockname()[1]),
            ("::1", six.getsockname()[1]),
            unix.getsockname().decode(),
        ]
        _, log = await run(isolated, spec(asking(*places)))
    assert log == "refused\n" * 3


async def test_x12_a_job_reaches_other_addresses(isolated: LocalBackend) -> None:
    with listening((other_address(), 0)) as server:
        _, log = await run(isolated, spec(asking(server.getsockname())))
    assert log == "hello\n"


async def test_x12_a_job_reaches_its_own_loopback(isolated: LocalBackend) -> None:
    serve = (
        'python3 -c \'import socket; s = socket.create_server(("127.0.0.1", 8080)); print(flush=True); '
        's.accept()[0].sendall(b"hello")\''
    )
    _, log = await run(isolated, spec(f"{serve} | (read -r ready; {asking(('127.0.0.1', 8080))[5:]})"))
    assert log == "hello\n"


async def test_x12_jobs_of_one_executor_share_their_loopback(isolated: LocalBackend) -> None:
    program = (
        "import socket; s = socket.create_server(('127.0.0.1', 8081)); print('up', flush=True); "
        "s.accept()[0].sendall(b'hello')"
    )
    first = await begin(isolated, spec(f'exec python3 -c "{program}"'))
    await said(first, "up")
    _, log = await run(isolated, spec(asking(("127.0.0.1", 8081)), attempt=2))
    assert log == "hello\n"


async def test_x12_a_clone_reaches_what_its_machine_reaches(isolated: LocalBackend, folder: Path) -> None:
    origin = Origin(folder / "origin")
    end, log = await run(isolated, spec("ls first", clone=origin.clone(origin.first)))
    assert (end.exit_code, log) == (0, "first\n")


async def test_x12_a_stop_reaches_a_job_in_its_network(isolated: LocalBackend) -> None:
    made = await begin(
        isolated, spec("trap 'echo stopped; exit' TERM; echo begun; while :; do sleep 0.05; done")
    )
    await said(made, "begun")
    await isolated.stop(made.name, made.pods[0].uid)
    _, end = await end_of(isolated, made.name)
    assert end.stopped
    assert log_of(made).endswith("stopped\n")


async def test_x12_without_a_user_space_network_the_pod_carries_a_warning(
    folder: Path, sandbox: Sandbox
) -> None:
    async with opened(folder, sandbox, ABSENT) as cluster:
        made = await begin(cluster, spec())
        assert made.warnings == (SHARED_NETWORK,)
        await end_of(cluster, made.name)
    async with opened(folder, sandbox, NetworkWish("shared")) as another:
        assert (await another.create(spec(attempt=2))).warnings == ()


async def test_x12_a_warning_stays_with_its_pod(folder: Path, sandbox: Sandbox) -> None:
    async with LocalBackend(folder / "local", INSTALLATION, sandbox, LIMITS, ABSENT) as cluster:
        await cluster.create(spec())
    async with opened(folder, sandbox, NetworkWish("shared")) as another:
        assert [seen.warnings for seen in await another.everything()] == [(SHARED_NETWORK,)]


async def test_x12_where_a_network_of_their_own_is_required_nothing_starts_without(
    folder: Path, sandbox: Sandbox
) -> None:
    with pytest.raises(SandboxUnusable, match="towpath-no-such-program is not installed"):
        async with opened(folder, sandbox, NetworkWish("own", ABSENT.program)):
            pass


async def test_x12_a_network_whose_program_was_killed_is_replaced(isolated: LocalBackend) -> None:
    program = _newest_program()
    os.kill(program, signal.SIGKILL)

    async def gone() -> bool:
        return start_time(program) is None

    await until(gone, within=20, what="the end of the program")
    with listening((other_address(), 0)) as server:
        _, log = await run(isolated, spec(asking(server.getsockname())))
    assert log == "hello\n"


async def test_x12_a_job_keeps_its_network_when_its_executor_ends(folder: Path, sandbox: Sandbox) -> None:
    gate = folder / "mount" / "gate"
    with listening((other_address(), 0)) as server:
        try:
            async with LocalBackend(
                folder / "local", INSTALLATION, sandbox, LIMITS, NetworkWish("own")
            ) as cluster:
                wait = f"echo begun; while [ ! -e {gate} ]; do sleep 0.05; done"
                made = await begin(cluster, spec(f"{wait}; {asking(server.getsockname())}"))
                await said(made, "begun")
                program = _newest_program()
        except SandboxUnusable as error:
            pytest.skip(str(error))
        gate.touch()
        async with opened(folder, sandbox, NetworkWish("shared")) as another:
            await end_of(another, made.name)
            assert log_of(made) == "begun\nhello\n"

    async def gone() -> bool:
        return start_time(program) is None

    await until(gone, within=20, what="the end of the program")


def _newest_program() -> int:
    """Return the newest slirp4netns that a fork server of this process started, for any test's cluster."""
    programs = [pid for pid in descendants(os.getpid()) if Path(_command(pid)[0]).name == "slirp4netns"]
    return max(programs, key=lambda pid: start_time(pid) or 0)


def _command(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    return [""]
