"""Tests of the file with the outputs of steps, and of the container that prints it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.executor import outputs_container
from services.executor.step_outputs import LIMIT_BYTES, Collected, OutputsProblem, collect, parse

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_-]{0,9}", fullmatch=True)
OUTPUTS = st.dictionaries(NAMES, st.dictionaries(NAMES, TEXT, min_size=1, max_size=4), max_size=4)


def records(outputs: dict[str, dict[str, str]]) -> bytes:
    return "".join(
        f"{step}\0{name}\0{value}\0" for step, values in outputs.items() for name, value in values.items()
    ).encode()


@given(OUTPUTS)
def test_rule_3_outputs_are_read_as_the_driver_wrote_them(outputs: dict[str, dict[str, str]]) -> None:
    assert parse(records(outputs)) == Collected(outputs)


@given(OUTPUTS)
def test_rule_3_outputs_are_printed_and_read_back(outputs: dict[str, dict[str, str]]) -> None:
    log = outputs_container.shown(Collected(outputs)).encode()
    assert outputs_container.read(log) == Collected(outputs)


@given(st.binary(max_size=80))
def test_x13_any_bytes_are_outputs_or_a_problem(data: bytes) -> None:
    collected = parse(data)
    assert (collected.problem is None) or collected.outputs == {}


@given(OUTPUTS, st.integers(0, 10_000))
def test_rule_3_a_log_that_was_cut_is_not_complete(outputs: dict[str, dict[str, str]], length: int) -> None:
    log = outputs_container.shown(Collected(outputs)).encode()
    cut = log[: length % (len(log) - 1)]
    assert outputs_container.read(cut) is None


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", None),
        (b"a\0x\0\xff\0", None),
        (b"a\0x\0v", OutputsProblem.CHANGED),
        (b"a\0x\0", OutputsProblem.CHANGED),
        (b"a\0x y\0v\0", OutputsProblem.CHANGED),
        (b"1\0x\0v\0", OutputsProblem.CHANGED),
        (b"a\n\0x\0v\0", OutputsProblem.CHANGED),
        (b"a\0x\0" + b"v" * LIMIT_BYTES + b"\0", OutputsProblem.TOO_LARGE),
        (b"a\0x\0" + b"v" * (LIMIT_BYTES - 1) + b"\0", None),
        (b"a\0x\0v\0" * LIMIT_BYTES, None),
        (b"a\0x\0v\0" * 2 * LIMIT_BYTES, OutputsProblem.TOO_LARGE),
    ],
    ids=range(11),
)
def test_rule_3_only_whole_records_within_the_limit_are_outputs(
    data: bytes, problem: OutputsProblem | None
) -> None:
    assert parse(data).problem == problem


def test_x13_a_file_of_another_user_is_not_read(tmp_path: Path) -> None:
    """A job could link to a file that it may not read itself."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a file of another user")
    (tmp_path / "outputs").write_bytes(b"a\0x\0secret\0")
    assert collect(tmp_path / "outputs").problem is None
    os.chown(tmp_path, 12345, 12345)
    assert collect(tmp_path / "outputs") == Collected(problem=OutputsProblem.CHANGED)


def test_x13_a_folder_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "outputs").write_bytes(b"a\0x\0v\0")
    (tmp_path / "state").symlink_to("other")
    assert collect(tmp_path / "state" / "outputs") == Collected(problem=OutputsProblem.CHANGED)


@pytest.mark.parametrize("asked_before", [False, True], ids=["a signal", "asked before it started"])
def test_rule_3_the_container_prints_the_outputs_when_the_job_has_ended(
    tmp_path: Path, asked_before: bool
) -> None:
    """Before it started, the signal is lost, as in the first process of a container."""
    (tmp_path / "outputs").write_bytes(b"a\0x\0v\0")
    if asked_before:
        (tmp_path / "asked").touch()
    files = [str(tmp_path / name) for name in ("outputs", "asked")]
    # blocked from the beginning: a signal ends a usual process before it blocks it
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        program = subprocess.Popen(
            [sys.executable, "-m", "services.executor.outputs_container", *files], stdout=subprocess.PIPE
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if not asked_before:
        program.terminate()
    log, _ = program.communicate(timeout=20)
    assert program.returncode == 0
    assert outputs_container.read(log) == Collected({"a": {"x": "v"}})
