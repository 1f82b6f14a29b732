"""Contract tests of the programs of a stack, whether they are started or forked from a preloaded process."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack import processes
from devstack.errors import DevstackError
from devstack.processes import Command, PidFile
from devstack.settings import inherited_environment
from devstack.stack import CHECKOUT, NewPrograms, Programs
from tests.harness.preloaded import PreloadedPrograms
from tests.harness.waiting import TIMEOUT_FACTOR

SETTINGS = {
    "TOWPATH_DATABASE_URL": "postgresql://nobody:secret@127.0.0.1:9/none",
    "TOWPATH_AMQP_URL": "amqp://nobody:secret@127.0.0.1:9/none",
    "TOWPATH_ALLOW_DEFAULT_PASSWORDS": "true",
    "TOWPATH_HTTP_HOST": "127.0.0.1",
    "TOWPATH_HTTP_PORT": "0",
}


@pytest.fixture(scope="module", params=[NewPrograms, PreloadedPrograms])
def programs(request: pytest.FixtureRequest) -> Programs:
    made: Programs = request.param()
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    processes.kill(processes.of_stack(tmp_path))


def program(folder: Path, module: str, **environment: str) -> Command:
    argv = [sys.executable, "-m", module]
    return Command(
        argv, folder / "it.log", inherited_environment(folder, {**SETTINGS, **environment}), CHECKOUT
    )


def wait_for(text: str, command: Command) -> None:
    assert processes.wait_until(lambda: text in command.log.read_text(), 20 * TIMEOUT_FACTOR), (
        command.log.read_text()
    )


def test_a_service_has_its_own_environment_session_and_output(programs: Programs, folder: Path) -> None:
    command = program(folder, "services.scheduler", TOWPATH_LOG_FORMAT="json")
    process = programs.start(command, PidFile(folder / "it.pid"))
    assert PidFile(folder / "it.pid").read() == process
    assert processes.of_stack(folder) == [process]
    assert os.getsid(process.pid) == process.pid
    assert Path(f"/proc/{process.pid}/cwd").resolve() == CHECKOUT
    wait_for("service_started", command)
    environment = Path(f"/proc/{process.pid}/environ").read_bytes().rstrip(b"\0").split(b"\0")
    assert sorted(environment) == sorted(
        f"{name}={value}".encode() for name, value in command.environment.items()
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_signal_ends_a_service(programs: Programs, folder: Path, number: signal.Signals) -> None:
    command = program(folder, "services.executor", TOWPATH_LOCAL_DIR=str(folder / "local"))
    process = programs.start(command, PidFile(folder / "it.pid"))
    wait_for("schema_awaited", command)
    process.send(number)
    assert processes.wait_until(lambda: not process.running(), 20 * TIMEOUT_FACTOR)


def test_a_program_that_fails_says_why(programs: Programs, folder: Path) -> None:
    with pytest.raises(
        DevstackError, match=r"shared\.migrate failed:\n(?s:.*)Connection refused|Connect call failed"
    ):
        programs.run(program(folder, "shared.database.migrate"))


def test_two_programs_share_no_setting(programs: Programs, folder: Path) -> None:
    """The second program has none of the settings of the first."""
    with pytest.raises(DevstackError, match=r"127\.0\.0\.1"):
        programs.run(program(folder, "shared.database.migrate"))
    bare = program(folder, "shared.database.migrate")
    environment = {name: value for name, value in bare.environment.items() if name != "TOWPATH_DATABASE_URL"}
    with pytest.raises(DevstackError, match="database_url"):
        programs.run(Command(bare.argv, bare.log, environment, CHECKOUT))
