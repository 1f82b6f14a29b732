"""Tests that our globs agree with a slow matcher that was written from GitHub's documentation."""

import random
import re
from collections import Counter
from collections.abc import Sequence

import pytest

from shared.pipeline.globs import check_glob, matches
from tests.unit.shared.pipeline import slow_globs
from tests.unit.shared.pipeline.slow_globs import Dialect, admits

SEEDS = range(20261128, 20261138)
PAIRS = 100
"""Pairs of each seed. All seeds together are 1,000."""

COMMON = ["*", "**", "[ab]", "[0-9]", "a", "b", "7", ".", "-"]
"""Parts of patterns that mean the same on GitHub and here."""
DIFFERENT = [*COMMON, "?", "+", "[!a]", "[!0-9]"]
"""Parts of patterns, and those that differ on purpose."""

GITHUBS_EXAMPLES = [
    ("feature/*", ["feature/my-branch", "feature/your-branch"]),
    ("feature/**", ["feature/beta-a/my-branch", "feature/your-branch", "feature/mona/the/octocat"]),
    ("main", ["main"]),
    ("releases/mona-the-octocat", ["releases/mona-the-octocat"]),
    ("*", ["main", "releases", "README.md", "server.rb"]),
    ("**", ["all/the/branches", "every/tag", "all/the/files.md"]),
    ("*feature", ["mona-feature", "feature", "ver-10-feature"]),
    ("v2*", ["v2", "v2.0", "v2.9"]),
    ("*.js", ["app.js", "index.js"]),
    ("**.js", ["index.js", "js/index.js", "src/js/app.js"]),
    ("docs/*", ["docs/README.md", "docs/file.txt"]),
    ("docs/**", ["docs/README.md", "docs/mona/octocat.txt"]),
    ("docs/**/*.md", ["docs/README.md", "docs/mona/hello-world.md", "docs/a/markdown/file.md"]),
    ("**/docs/**", ["docs/hello.md", "dir/docs/my-file.txt", "space/docs/plan/space.doc"]),
    ("**/README.md", ["README.md", "js/README.md"]),
    ("**/*src/**", ["a/src/app.js", "my-src/code/js/app.js"]),
    ("**/*-post.md", ["my-post.md", "path/their-post.md"]),
    ("**/migrate-*.sql", ["migrate-10909.sql", "db/migrate-v1.0.sql", "db/sept/migrate-v1.sql"]),
    ("[CB]at", ["Cat", "Bat"]),
    ("[1-2]00", ["100", "200"]),
]
"""The examples of the cheat sheet that mean the same here."""

GITHUB_ALONE = [
    ("*.jsx?", "page.js", True),
    ("*.jsx?", "page.jsx", True),
    ("v[12].[0-9]+.[0-9]+", "v1.10.1", True),
    ("v[12].[0-9]+.[0-9]+", "v2.0.0", True),
    ("v[12].[0-9]+.[0-9]+", "v3.0.0", False),
    ("v[12].[0-9]+.[0-9]+", "v1..1", False),
]
"""Examples that mean something else here, or are refused."""


@pytest.mark.parametrize(("pattern", "names"), GITHUBS_EXAMPLES)
def test_githubs_examples_match_here_too(pattern: str, names: list[str]) -> None:
    for name in names:
        assert slow_globs.matches(pattern, name, Dialect.GITHUB)
        assert slow_globs.matches(pattern, name, Dialect.TOWPATH)
        assert matches([check_glob(pattern)], name)


@pytest.mark.parametrize(("pattern", "name", "expected"), GITHUB_ALONE)
def test_the_slow_matcher_knows_githubs_repetitions(pattern: str, name: str, expected: bool) -> None:
    assert slow_globs.matches(pattern, name, Dialect.GITHUB) is expected


@pytest.mark.parametrize(
    ("pattern", "name", "github", "ours"),
    [
        ("v1?", "v", True, False),
        ("v1?", "v1", True, False),
        ("v1?", "v12", False, True),
        ("a+", "aa", True, False),
        ("a+", "a+", False, True),
        ("[!a]", "!", True, True),
        ("[!a]", "b", False, True),
    ],
)
def test_the_differences_are_these(pattern: str, name: str, github: bool, ours: bool) -> None:
    assert slow_globs.matches(pattern, name, Dialect.GITHUB) is github
    assert slow_globs.matches(pattern, name, Dialect.TOWPATH) is ours
    assert matches([check_glob(pattern)], name) is ours


def a_name(dice: random.Random) -> str:
    segments = ["".join(dice.choices("ab7.-+", k=dice.randint(1, 3))) for _ in range(dice.randint(1, 4))]
    return "/".join(segments)


def a_pattern(dice: random.Random, name: str, parts: Sequence[str]) -> str:
    """Return a pattern for this name: some of its characters and segments are replaced by other parts.

    Half of the patterns are changed often, so they rarely match.
    """
    rate = dice.choice([0.2, 0.6])
    segments = []
    for segment in name.split("/"):
        signs = [dice.choice(parts) if dice.random() < rate else sign for sign in segment]
        whole = dice.choice(["**", "*", *(["?"] if "?" in parts else [])])
        segments.append(whole if dice.random() < rate / 2 else "".join(signs))
    pattern = "/".join(segments)
    return re.sub(r"\]\++", "]", pattern) if "+" in parts else pattern.replace("+", "*")


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("dialect", "parts"), [(Dialect.GITHUB, COMMON), (Dialect.TOWPATH, DIFFERENT)], ids=["common", "ours"]
)
def test_random_pairs_agree_with_the_slow_matcher(dialect: Dialect, parts: list[str], seed: int) -> None:
    print(f"seed {seed}")
    dice = random.Random(seed)  # noqa: S311 - a seeded test
    seen: Counter[bool] = Counter()
    for _ in range(PAIRS):
        name = a_name(dice)
        pattern = check_glob(a_pattern(dice, name if dice.random() < 0.8 else a_name(dice), parts))
        expected = slow_globs.matches(pattern, name, dialect)
        seen[expected] += 1
        assert matches([pattern], name) is expected, (seed, pattern, name)
    assert min(seen[True], seen[False]) >= PAIRS // 5, seen


@pytest.mark.parametrize("seed", SEEDS)
def test_random_lists_agree_with_the_slow_matcher(seed: int) -> None:
    print(f"seed {seed}")
    dice = random.Random(seed)  # noqa: S311 - a seeded test
    seen: Counter[bool] = Counter()
    for _ in range(PAIRS):
        name = a_name(dice)
        patterns = [a_pattern(dice, name, COMMON) for _ in range(dice.randint(1, 4))]
        patterns += [f"!{a_pattern(dice, name, COMMON)}" for _ in range(dice.randint(0, 2))]
        dice.shuffle(patterns)
        expected = admits(list(map(check_glob, patterns)), name, Dialect.GITHUB)
        seen[expected] += 1
        assert matches(patterns, name) is expected, (seed, patterns, name)
    assert min(seen[True], seen[False]) >= PAIRS // 5, seen
