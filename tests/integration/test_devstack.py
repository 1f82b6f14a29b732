"""Tests of the servers and of the services' processes of one machine, with real processes."""

import asyncio
import re
import shutil
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import aio_pika
import asyncpg
import pytest

from devstack import processes
from devstack.errors import DevstackError
from devstack.places import scratch_directory
from devstack.ports import forget_port, is_free, kept_ports, prefer_port
from devstack.servers import Servers
from devstack.stack import Stack
from tests.harness.servers import containers_are_chosen


async def test_each_test_gets_a_migrated_database_of_its_own(
    database_url: str, session_database_url: str
) -> None:
    assert database_url != session_database_url
    names = set()
    for url in (database_url, session_database_url):
        connection = await asyncpg.connect(url)
        names.add(await connection.fetchval("SELECT name FROM installation"))
        assert await connection.fetchval("SELECT count(*) FROM pipeline_runs") >= 0
        await connection.close()
    assert len(names) == 2
    assert all(re.fullmatch("[a-z2-7]{8}", name) for name in names)


async def test_each_test_gets_a_virtual_host_of_its_own(amqp_url: str, session_amqp_url: str) -> None:
    assert amqp_url != session_amqp_url
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        await channel.declare_queue("ours", durable=True, arguments={"x-queue-type": "quorum"})
    async with await aio_pika.connect(session_amqp_url) as connection:
        channel = await connection.channel()
        with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
            await channel.declare_queue("ours", passive=True)


@pytest.fixture
def private_processes(breakable_servers: Servers) -> Path:
    """Return the directory of the servers' processes. Skip the test if the servers are containers."""
    if containers_are_chosen():
        pytest.skip("the servers are containers, not processes of this machine")
    return Path(breakable_servers.postgres.directory).parent


@pytest.mark.alone("measures time")
async def test_starting_a_running_server_changes_nothing(
    breakable_servers: Servers, private_processes: Path
) -> None:
    before = {process.pid for process in processes.of_stack(private_processes)}
    started_at = time.monotonic()
    await asyncio.to_thread(breakable_servers.start)
    assert time.monotonic() - started_at < 2
    assert before <= {process.pid for process in processes.of_stack(private_processes)}


async def test_stopping_leaves_no_process(breakable_servers: Servers, private_processes: Path) -> None:
    assert processes.of_stack(private_processes)
    await asyncio.to_thread(breakable_servers.stop)
    assert processes.of_stack(private_processes) == []


def test_a_port_is_chosen_once_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    ports = kept_ports(path, {"a": None, "b": None})
    assert len(set(ports.values())) == 2
    assert all(is_free(port) for port in ports.values())
    assert kept_ports(path, {"b": None, "a": None}) == ports
    assert kept_ports(path, {"a": 7, "c": None}).keys() == {"a", "c"}
    assert kept_ports(path, {"b": None}) == {"b": ports["b"]}


def test_a_taken_port_is_neither_free_nor_preferred(tmp_path: Path) -> None:
    path = tmp_path / "ports.json"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not is_free(port)
        prefer_port(path, "a", port)
        assert kept_ports(path, {"a": None})["a"] != port
    prefer_port(path, "b", port)
    assert kept_ports(path, {"b": None})["b"] == port
    forget_port(path, "b")
    assert kept_ports(path, {"b": None})["b"] != port


@pytest.fixture
def nowhere() -> Iterator[Stack]:
    """Yield a stack whose addresses have no servers behind them."""
    directory = scratch_directory()
    stack = Stack(directory, "postgresql://nobody@127.0.0.1:9/none", "amqp://nobody@127.0.0.1:9/none")
    yield stack
    stack.stop_all()
    shutil.rmtree(directory)


def test_a_service_that_ends_at_once_is_told_with_the_end_of_its_log(nowhere: Stack) -> None:
    nowhere.start("scheduler", env={"TOWPATH_LOG_LEVEL": "deafening"})
    with pytest.raises(DevstackError, match=r"(?s)scheduler ended.*log_level"):
        nowhere.wait_ready("scheduler", seconds=30)
    assert nowhere.running() == []


def test_a_service_without_servers_is_not_ready_and_can_be_ended(nowhere: Stack) -> None:
    first = nowhere.start("scheduler")
    second = nowhere.start("scheduler", replica=2)
    assert nowhere.start("scheduler") == first
    assert nowhere.port("scheduler") != nowhere.port("scheduler", 2)
    assert nowhere.running() == ["scheduler", "scheduler-2"]
    with pytest.raises(DevstackError, match="is not ready"):
        nowhere.wait_ready("scheduler", seconds=0.2)
    nowhere.kill("scheduler")
    assert not first.running()
    assert second.running()
    nowhere.stop_all()
    assert not second.running()
    assert processes.of_stack(nowhere.directory) == []


def test_only_the_gateway_gets_webhook_secrets(nowhere: Stack) -> None:
    stack = replace(nowhere, extra_env={"TOWPATH_GITHUB_WEBHOOK_SECRET": "s", "TOWPATH_GRACE_SECONDS": "2"})
    assert stack.environment("gateway")["TOWPATH_GITHUB_WEBHOOK_SECRET"] == "s"
    assert "TOWPATH_GITHUB_WEBHOOK_SECRET" not in stack.environment("executor")
    assert stack.environment("executor")["TOWPATH_GRACE_SECONDS"] == "2"
    assert stack.environment("scheduler")["TOWPATH_HTTP_PORT"] == str(stack.port("scheduler"))
