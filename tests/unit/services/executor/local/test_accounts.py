"""Tests of the user and group files that jobs see."""

import pytest

from services.executor.local.accounts import HOME, Account, account, group_file, passwd_file

MACHINE = "root:x:0:0:root:/root:/bin/bash\nmona:x:1000:1000::/home/mona:/bin/zsh\n"


def test_a10_a_uid_without_an_entry_gets_one() -> None:
    who = account(MACHINE, 65530, 65530)
    assert who == Account("towpath", 65530, 65530)
    assert passwd_file(MACHINE, who) == f"towpath:x:65530:65530:Towpath job:{HOME}:/bin/sh\n{MACHINE}"


def test_a10_a_uid_with_an_entry_keeps_its_name_and_has_the_jobs_home() -> None:
    who = account(MACHINE, 1000, 1000)
    assert passwd_file(MACHINE, who).splitlines() == [
        f"mona:x:1000:1000:Towpath job:{HOME}:/bin/sh",
        MACHINE.splitlines()[0],
    ]


@pytest.mark.parametrize("taken", ["towpath", "towpath:x:9", "towpath:x:9:9::/:/bin/sh\ntowpath-job"])
def test_a10_the_name_is_nobody_elses(taken: str) -> None:
    machine = f"{MACHINE}{taken}:x:9:9::/:/bin/sh\n"
    who = account(machine, 65530, 65530)
    assert who.name.startswith("towpath-job")
    assert f"\n{who.name}:" not in machine


@pytest.mark.parametrize(
    "machine", ["", "\n\n", "broken\n:x:65530:1\nbad:x:many:1::/:/bin/sh\n", "no line feed:x:1:1::/:/bin/sh"]
)
def test_a10_lines_that_are_no_entries_do_no_harm(machine: str) -> None:
    who = account(machine, 65530, 65530)
    lines = passwd_file(machine, who).splitlines()
    assert lines[0].startswith(f"{who.name}:x:65530:65530:")
    assert passwd_file(machine, who).endswith("\n")


def test_a10_a_group_that_is_there_keeps_its_name() -> None:
    machine = "root:x:0:\nstaff:x:50:mona\n"
    who = Account("towpath", 65530, 65530)
    assert group_file(machine, who) == f"{machine}towpath:x:65530:\n"
    assert group_file(machine, Account("towpath", 65530, 50)) == machine
