"""Tests of shortened tracebacks: the last lines of the output name file, line and exception."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from tests.chaos import __main__ as chaos
from tests.chaos.load import Load
from tests.chaos.tracebacks import LINES, closing_lines
from tests.chaos.trouble import Trouble


class Planted(Exception):
    """A bug in the soak itself."""


async def fails(deep: int = 0) -> None:
    if deep:
        await fails(deep - 1)
    raise Planted("a planted\nbug")


PLACE = f'{__file__}", line {inspect.getsourcelines(fails)[1] + 3}, in fails'


async def fails_in_groups() -> None:
    async with asyncio.TaskGroup() as tasks:
        for _ in range(7):
            tasks.create_task(fails(deep=9))
        await asyncio.Event().wait()


async def fails_while_it_is_closed() -> None:
    try:
        await fails(deep=9)
    finally:
        raise OSError("the clean-up failed too")


@pytest.mark.parametrize("soak", [fails, fails_in_groups, fails_while_it_is_closed])
def test_the_last_lines_name_the_place(
    soak: Callable[[], Coroutine[Any, Any, None]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    async def ends(_wanted: chaos.Wanted) -> None:
        abandoned = asyncio.create_task(fails())
        await asyncio.wait([abandoned])
        await soak()

    monkeypatch.setattr(chaos, "soak", ends)
    assert chaos.main(["--seed", "1"]) == 1
    captured = capfd.readouterr()
    last = captured.err.splitlines()[-20:]
    assert any(PLACE in line for line in last)
    assert any(line.startswith(f"{__name__}.Planted: a planted") for line in last)
    assert "exception was never retrieved" not in "\n".join(last[-LINES:])


def raised(make: Callable[[], Coroutine[Any, Any, None]]) -> BaseException:
    """Run the coroutine and return the exception that it raises."""
    with pytest.raises(BaseException) as found:  # noqa: PT011 - groups and exceptions alike
        asyncio.run(make())
    return found.value


def test_a_short_traceback_is_printed_as_it_is() -> None:
    with pytest.raises(Planted) as found:
        raise Planted("short")
    lines = closing_lines(found.value)
    assert (lines[0], lines[-1]) == ("Traceback (most recent call last):", f"{__name__}.Planted: short")


def test_a_long_one_is_cut_to_the_own_place_of_each_exception() -> None:
    lines = closing_lines(raised(fails_in_groups))
    assert len(lines) <= LINES
    assert sum(PLACE in line for line in lines) == 4
    assert lines[-1] == "and 3 more exceptions"


def test_what_ended_it_comes_before_what_failed_afterwards() -> None:
    lines = closing_lines(raised(fails_while_it_is_closed))
    assert [line for line in lines if not line.startswith(" ")][1:] == [
        f"{__name__}.Planted: a planted",
        "OSError: the clean-up failed too",
    ]


def test_a_long_message_is_cut() -> None:
    lines = closing_lines(ExceptionGroup("", [ValueError("x\n" * 100), ValueError("y" * 10_000)]))
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= 300


class Idle(Trouble, Load):
    """A soak that breaks nothing and sends nothing, and never ends."""

    def __init__(self) -> None:
        """Skip the constructors of the base classes, which need a world."""

    async def run(self, *_arguments: object) -> None:
        await asyncio.Event().wait()


async def test_a_bug_in_the_progress_line_ends_the_soak_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chaos, "show", lambda *_: fails())
    with pytest.raises(ExceptionGroup) as found:
        async with asyncio.timeout(10):
            await chaos.break_under_load(chaos.Wanted(1, 60, 1, 0), Idle(), Idle())
    assert found.group_contains(Planted)
