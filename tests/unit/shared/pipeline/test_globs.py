"""Tests of the names that a pipeline's globs match."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcmatch import glob

from shared.pipeline.errors import BadValue
from shared.pipeline.globs import (
    check_glob,
    check_globs,
    matches,
    repository_keys,
    repository_lookup,
    repository_matches,
    steps_to_compare,
)

FLAGS = glob.GLOBSTAR | glob.DOTGLOB | glob.FORCEUNIX | glob.CASE


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("main", "main", True),
        ("main", "Main", False),
        ("main", "main2", False),
        ("*", "main", True),
        ("*", "release/1", False),
        ("**", "release/1", True),
        ("release/*", "release/1", True),
        ("release/*", "release/1/hotfix", False),
        ("release/**", "release/1/hotfix", True),
        ("release/**", "release", False),
        ("releases/**-alpha", "releases/10-alpha", True),
        ("releases/**-alpha", "releases/beta/3-alpha", True),
        ("releases/*-alpha", "releases/beta/3-alpha", False),
        ("**a*b", "a/ab", True),
        ("**/fix", "fix", True),
        ("**/fix", "team/a/fix", True),
        ("**/fix", "prefix", False),
        ("team/**/fix", "team/fix", True),
        ("team/**/**/fix", "team/a/b/fix", True),
        ("team/**/fix", "teamfix", False),
        ("v[0-9].*", "v3.1", True),
        ("v[!0-9]*", "v3.1", False),
        ("v[!0-9]*", "v/x", False),
        ("v[]x]", "v]", True),
        ("v?", "v1", True),
        ("v?", "v/", False),
        ("v?", "v", False),
        ("1.0+build", "1.0+build", True),
        ("a.c", "abc", False),
        ("feature/é*", "feature/élan", True),
        (".*", ".hidden", True),
    ],
)
def test_a_glob_lets_in(pattern: str, name: str, expected: bool) -> None:
    assert check_glob(pattern) == pattern
    assert matches([pattern], name) is expected


@pytest.mark.parametrize(
    ("patterns", "name", "expected"),
    [
        (["release/**", "!release/**-rc"], "release/1", True),
        (["release/**", "!release/**-rc"], "release/1-rc", False),
        (["!release/**-rc", "release/**"], "release/1-rc", True),
        (["**", "!wip/**", "wip/keep"], "wip/keep", True),
        (["**", "!wip/**", "wip/keep"], "wip/other", False),
        ([], "main", False),
    ],
)
def test_the_last_pattern_that_matches_decides(patterns: list[str], name: str, expected: bool) -> None:
    assert matches(patterns, name) is expected


segments = st.lists(st.sampled_from(["a", "b", "ab", "ba", "aab", "c.d"]), min_size=1, max_size=5).map(
    "/".join
)
patterns = st.lists(
    st.sampled_from(["**", "*", "a", "a*", "*b", "?", "a?", "[ab]*", "[!a]*", "*a*b*", "c.d"]),
    min_size=1,
    max_size=5,
).map("/".join)


@given(patterns, segments)
def test_wcmatch_agrees_where_a_double_star_stands_alone(pattern: str, name: str) -> None:
    assert matches([pattern], name) == glob.globmatch(name, pattern, flags=FLAGS)


@given(st.text(alphabet="ab*?[]!-/^+", max_size=30), st.text(alphabet="ab/]-", max_size=30))
def test_any_pattern_is_either_refused_or_matched(pattern: str, name: str) -> None:
    try:
        check_glob(pattern)
    except BadValue:
        return
    assert matches([pattern], name) in {True, False}


@pytest.mark.alone("measures processor time")
@pytest.mark.parametrize(
    "pattern", ["*a" * 120 + "*b", "**a" * 80 + "b", "**/a/" * 50 + "b", "[ab]*" * 50 + "c", "?*" * 127]
)
def test_a_hostile_pattern_costs_next_to_nothing(pattern: str) -> None:
    check_glob(pattern)
    names = ["a" * 255, "a/" * 127, "ab" * 127]
    start = time.process_time()
    for name in names:
        matches([pattern], name)
    assert time.process_time() - start < 0.1


@pytest.mark.parametrize(
    "pattern",
    ["", "!", "!!main", "a b", "a\\b", "v[0-9", "v[]", "a:b", "a~1", "^main", "v[9-0]", "v[0-9]+", "a\tb"],
)
def test_a_glob_that_can_never_match_is_refused(pattern: str) -> None:
    with pytest.raises(BadValue) as refused:
        check_glob(pattern)
    assert refused.value.code == "bad_glob"


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("release/{1,2}", "a pattern for each"),
        ("!{wip,draft}/**", "a pattern for each"),
        ("@(a|b)", "a pattern for each"),
        ("release/+([0-9])", "a pattern for each"),
        ("!(main)", "a pattern for each"),
        ("refs/heads/main", "Write main"),
        ("!refs/heads/wip/*", "Write wip/*"),
        ("refs/tags/v*", "Write v*"),
    ],
)
def test_a16_a_glob_of_another_dialect_is_refused_with_what_to_write(pattern: str, hint: str) -> None:
    with pytest.raises(BadValue) as refused:
        check_glob(pattern)
    assert refused.value.code == "bad_glob"
    assert hint in (refused.value.hint or "")


@pytest.mark.parametrize("pattern", ["fix-(scope)", "release/{next}", "a,b", "heads/main", "[{]a,b}"])
def test_a16_a_glob_that_only_looks_like_another_dialect_is_taken(pattern: str) -> None:
    assert matches([check_glob(pattern)], pattern.replace("[{]", "{")) is True


def test_a_list_that_only_excludes_is_refused() -> None:
    check_globs(["**", "!main"])
    with pytest.raises(BadValue, match="only exclude"):
        check_globs(["!main", "!dev"])


@pytest.mark.parametrize(
    ("patterns", "name", "expected"),
    [
        (["octo/web"], "Octo/Web", True),
        (["Octo/*"], "octo/web", True),
        (["octo/web-*"], "octo/api", False),
        (["octo/api", "octo/web"], "octo/web", True),
        (["octo/we?"], "octo/web", True),
        (["octo/web"], "octo/web2", False),
        (["octo/web"], "other/web", False),
    ],
)
def test_the_case_of_a_repository_does_not_matter(patterns: list[str], name: str, expected: bool) -> None:
    assert repository_matches(patterns, name) is expected


def test_a_pipeline_is_stored_under_names_and_owners() -> None:
    assert repository_keys(["Octo/Web", "octo/*", "octo/web-?", "octo/web"]) == ("octo/web", "octo/")


owners = st.text(alphabet="aB.-", min_size=1, max_size=4)


@given(
    owners,
    st.lists(st.text(alphabet="aB*?-", min_size=1, max_size=5), min_size=1, max_size=4),
    st.text(alphabet="Ab-", min_size=1, max_size=5),
)
def test_a_lookup_finds_every_pipeline_that_matches(owner: str, names: list[str], name: str) -> None:
    patterns = [f"{owner}/{pattern}" for pattern in names]
    full_name = f"{owner}/{name}"
    if repository_matches(patterns, full_name):
        assert set(repository_lookup(full_name)) & set(repository_keys(patterns))


@pytest.mark.parametrize(
    ("patterns", "name", "steps"),
    [
        ([], "main", 0),
        (["main"], "main", 8),
        (["v*", "!v?"], "v1.0", 2 + 4 + 3 + 8),
        (["[a-z][0-9]"], "x" * 240, 10 + 720),
    ],
)
def test_x05_comparing_takes_steps_for_the_patterns_and_the_name(
    patterns: list[str], name: str, steps: int
) -> None:
    assert steps_to_compare(patterns, name) == steps
