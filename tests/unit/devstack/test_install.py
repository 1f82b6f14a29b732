"""Tests of the installation by apt.

Only missing programs are installed. The package lists are fetched if needed, and daemons are not started.
"""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from devstack import install
from devstack.errors import DevstackError
from devstack.install import Program, install_missing

FAKE_APT = """#!/bin/sh
echo "$* policy=$(test -x {policy} && {policy}; echo $?)" >> {calls}
case "$*" in
  *" update") touch {lists}/a_Packages; exit 0 ;;
esac
test -e {lists}/a_Packages || {{ echo "E: Unable to locate package"; exit 100; }}
test -e {broken} && {{ echo "E: broken packages"; exit 100; }}
touch {installed}
"""

FAKE_SUDO = """#!/bin/sh
[ "$1" = --non-interactive ] && shift
exec "$@"
"""


class Machine:
    """A machine whose apt-get is a script of these tests."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.lists = directory / "lists"
        self.policy = directory / "policy-rc.d"
        self.lists.mkdir()
        bin_directory = directory / "bin"
        bin_directory.mkdir()
        paths = {name: directory / name for name in ("calls", "broken", "installed")}
        for name in ("apt-get", "sudo"):
            script = bin_directory / name
            script.write_text(
                FAKE_APT.format(policy=self.policy, lists=self.lists, **paths)
                if name == "apt-get"
                else FAKE_SUDO
            )
            script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{bin_directory}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setattr(tempfile, "tempdir", str(directory))
        monkeypatch.setattr(install, "LISTS", self.lists)
        monkeypatch.setattr(install, "POLICY", self.policy)
        self.said: list[str] = []
        self._monkeypatch = monkeypatch

    def needs(self, *programs: Program) -> None:
        self._monkeypatch.setattr(install, "PROGRAMS", programs)

    def installed(self) -> bool:
        return (self.directory / "installed").exists()

    @property
    def calls(self) -> list[str]:
        path = self.directory / "calls"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def program(present: Callable[[], bool]) -> Program:
    return Program("Something", "something", present)


def test_nothing_is_done_where_all_is_there(machine: Machine) -> None:
    machine.needs(program(lambda: True))
    install_missing(machine.said.append)
    assert machine.calls == []
    assert machine.said == []


def test_the_package_lists_are_fetched_where_there_are_none(machine: Machine) -> None:
    machine.needs(program(machine.installed))
    install_missing(machine.said.append)
    assert [call.split(" policy=")[0].split()[-1] for call in machine.calls] == ["update", "something"]
    assert machine.installed()
    assert any("Something" in line for line in machine.said)


def test_daemons_may_not_start_meanwhile_and_may_again_afterwards(machine: Machine) -> None:
    machine.needs(program(machine.installed))
    install_missing(machine.said.append)
    assert all(call.endswith("policy=101") for call in machine.calls)
    assert not machine.policy.exists()


def test_a_policy_that_was_there_stays_as_it_is(machine: Machine) -> None:
    machine.policy.write_text("#!/bin/sh\nexit 42\n")
    machine.policy.chmod(0o755)
    machine.needs(program(machine.installed))
    install_missing(machine.said.append)
    assert all(call.endswith("policy=42") for call in machine.calls)
    assert machine.policy.read_text() == "#!/bin/sh\nexit 42\n"


def test_a_failure_shows_the_end_of_apts_output_and_removes_the_policy(machine: Machine) -> None:
    (machine.directory / "broken").touch()
    machine.needs(program(machine.installed))
    with pytest.raises(DevstackError, match="broken packages"):
        install_missing(machine.said.append)
    assert not machine.policy.exists()


def test_without_apt_the_person_is_told_what_to_install(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(machine.directory))
    machine.needs(program(lambda: False), Program("Sandbox", "sandbox", lambda: False, optional=True))
    with pytest.raises(DevstackError, match=r"Something \(Debian's package: something\)") as refused:
        install_missing(machine.said.append)
    assert "Sandbox" not in str(refused.value)


def test_without_apt_a_program_that_is_not_needed_is_done_without(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(machine.directory))
    machine.needs(Program("Sandbox", "sandbox", lambda: False, optional=True))
    install_missing(machine.said.append)
    assert machine.said == ["Sandbox is not installed: going on without it"]


def test_a_program_that_is_not_needed_and_can_not_be_installed_is_done_without(machine: Machine) -> None:
    (machine.directory / "broken").touch()
    machine.needs(Program("Sandbox", "sandbox", lambda: False, optional=True))
    install_missing(machine.said.append)
    assert machine.said[-1].startswith("going on without Sandbox: apt-get cannot install sandbox")
    assert not machine.policy.exists()
