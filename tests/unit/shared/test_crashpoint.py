"""Tests of crash points: the process dies only at the configured point and passage."""

from shared.crashpoint import EXIT_CODE, armed


def passed(setting: str, *names: str) -> list[str]:
    """Pass these points and return the deaths."""
    deaths: list[str] = []
    crashpoint = armed(setting, deaths.append)
    for name in names:
        crashpoint(name)
    return deaths


def test_nothing_armed_lets_everybody_pass() -> None:
    assert passed("", "a.place", "a.place") == []


def test_the_first_passage_is_meant_where_none_is_named() -> None:
    assert passed("a.place", "another.place", "a.place") == ["a.place"]


def test_earlier_passages_are_let_through() -> None:
    assert passed("a.place:3", "a.place", "another.place", "a.place") == []
    assert passed("a.place:3", "a.place", "a.place", "a.place", "a.place") == ["a.place"]


def test_a_death_looks_like_a_kill() -> None:
    assert EXIT_CODE == 128 + 9
