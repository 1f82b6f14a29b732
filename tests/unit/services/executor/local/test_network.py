"""Tests of the network of jobs: their name servers, and the error if the network is not available."""

from dataclasses import replace
from pathlib import Path

import pytest

from services.executor.local import network
from services.executor.local.network import NetworkUnusable
from services.executor.local.sandbox import Sandbox


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("nameserver 127.0.0.53\noptions edns0\n", True),
        ("nameserver ::1\n", True),
        ("", True),
        ("nameserver 192.0.2.53\n", False),
        ("nameserver 127.0.0.1\nnameserver 192.0.2.53\n", False),
        ("# nameserver 192.0.2.53\n", True),
        ("nameserver\n", True),
    ],
)
def test_x12_name_servers_on_loopback_are_told_from_others(text: str, *, local: bool) -> None:
    assert network.name_servers_are_local(text) is local


def test_x12_a_job_asks_the_network_program_and_keeps_the_rest() -> None:
    machine = "# made by hand\nnameserver 127.0.0.53\noptions edns0\nsearch example.org\n"
    assert network.resolv_conf(machine) == "nameserver 10.0.2.3\noptions edns0\nsearch example.org\n"


def test_x12_a_job_in_the_sandbox_sees_the_name_servers_of_its_network() -> None:
    place = (Path("/srv/local/resolv.conf"), Path("/etc/resolv.conf"))
    sandbox = replace(Sandbox(None, None, bubblewrap=True), resolv_conf=place)
    prefix = sandbox.job(Path("/srv/job"), Path("/srv/job/workspace")).prefix
    assert ("--ro-bind", str(place[0]), str(place[1])) in zip(prefix, prefix[1:], prefix[2:], strict=False)


@pytest.mark.parametrize(
    ("program", "why"), [("towpath-no-such-program", "is not installed"), ("false", "does not work here")]
)
def test_x12_a_program_that_can_not_be_used_is_named(program: str, why: str) -> None:
    with pytest.raises(NetworkUnusable) as caught:
        network.make_network(program)
    if "no network namespace" in str(caught.value):
        pytest.skip(str(caught.value))
    assert f"{program} {why}" in str(caught.value)
