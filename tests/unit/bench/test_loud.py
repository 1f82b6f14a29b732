"""Tests of the job with much output: its output, its files on disk, and the proof of both."""

import hashlib
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import loud
from bench.disk_log import write_pod


def test_the_command_prints_the_content() -> None:
    printed = subprocess.run(
        ["sh", "-e", "-c", loud.command(12)], capture_output=True, check=True, timeout=10
    ).stdout
    assert printed.splitlines(keepends=True) == list(loud.content(12))
    assert {len(line) for line in loud.content(12)} == {loud.LINE_BYTES}


def test_what_a_system_adds_is_no_part_of_the_proof() -> None:
    lines = list(loud.content(3))
    assert loud.proof(
        [b"$ seq\n", lines[0], b"took 1234567 ms\n", *lines[1:], b"exit code 0\n"]
    ) == loud.proof(lines)


@pytest.mark.parametrize(
    "spoilt", [lambda lines: lines[:-1], lambda lines: [*lines, lines[0]], lambda lines: lines[::-1]]
)
def test_lines_lost_doubled_or_out_of_order_fail_the_proof(
    spoilt: Callable[[list[bytes]], list[bytes]],
) -> None:
    lines = list(loud.content(3))
    assert loud.proof(spoilt(lines)) != loud.proof(lines)


def test_a_pod_on_disk_holds_the_content_in_cri_format_and_is_ended(tmp_path: Path) -> None:
    sha256 = write_pod(tmp_path / "pod", 1000)
    lines = (tmp_path / "pod/log/job.log").read_bytes().splitlines(keepends=True)
    parts = [
        re.fullmatch(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) stdout F (.*\n)", line, flags=re.DOTALL)
        for line in lines
    ]
    assert [part[2] for part in parts if part] == list(loud.content(1000))
    stamps = [part[1] for part in parts if part]
    assert stamps == sorted(set(stamps))
    assert sha256 == hashlib.sha256(b"".join(loud.content(1000))).hexdigest()
    assert (tmp_path / "pod/ended/job").exists()
