"""Globs for the names of branches, tags, repositories and files.

`*` matches any characters except `/`; `**` matches any characters. `**/` at the start of a segment may also
match nothing. `?` is one character except `/`, `[a-z]` is one character of a set, and a leading `!` excludes.

A compiled pattern is matched in one pass over the name, which updates the set of positions in the pattern
that can be reached. The cost therefore depends on the length of the name and not on the pattern. wcmatch
gives the same results if `**` stands alone between slashes (tested). Elsewhere wcmatch reads `**` as `*`, so
it does not support `releases/**-alpha`. Its regular expressions also backtrack: six times `**/a/` take seven
seconds for 120 characters.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from shared.pipeline.errors import BadValue, quotable

PATTERN_LIMIT = 255
"""The longest pattern in characters. Names of refs on the forges are not longer."""

# Characters that no ref has (git check-ref-format). A set may begin with `^`.
_IMPOSSIBLE = frozenset(" \t\n\r\\~:^")
_ALTERNATIVES = re.compile(r"\{[^{}]*,[^{}]*\}")
_EXTENDED = re.compile(r"[@+?*!]\(")
_REF_PREFIXES = ("refs/heads/", "refs/tags/")
"""Prefixes of full refs. Patterns are compared with names, which do not have them."""

Accepts = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class _Glob:
    """A compiled pattern. In a set of positions, bit i means that the first i tokens have matched."""

    length: int
    """The number of tokens."""
    literals: dict[str, int]
    """The positions at which the pattern has each literal character."""
    sets: tuple[tuple[int, Accepts], ...]
    """Positions at which one of several characters may follow."""
    star: int
    """Positions at which any characters except `/` may be skipped."""
    globstar: int
    """Positions at which any characters may be skipped."""
    gates: int
    """Positions before a `**/` that begins a segment.

    It matches whole segments with their slashes, or nothing.
    """

    def matches(self, name: str) -> bool:
        positions = self._through_gates(1)
        masks: dict[str, int] = {}
        for character in name:
            if (accepting := masks.get(character)) is None:
                accepting = masks[character] = self._accepting(character)
            staying = self.globstar if character == "/" else self.star | self.globstar
            positions = self._through_gates((positions & accepting) << 1 | positions & staying)
            if not positions:
                return False
        return bool(positions >> self.length & 1)

    def _through_gates(self, positions: int) -> int:
        opened = positions & self.gates
        return positions | opened << 1 | opened << 2

    def _accepting(self, character: str) -> int:
        return self.literals.get(character, 0) | sum(
            position for position, accepts in self.sets if accepts(character)
        )


def matches(patterns: Sequence[str], name: str) -> bool:
    """Return True if the patterns admit this name.

    The last pattern that matches decides. A pattern with `!` excludes names that an earlier pattern admitted.
    """
    admitted = False
    for pattern in patterns:
        excludes = pattern.startswith("!")
        if admitted == excludes and _compiled(pattern.removeprefix("!")).matches(name):
            admitted = not excludes
    return admitted


def steps_to_compare(patterns: Iterable[str], name: str) -> int:
    """Return the largest number of steps that a comparison of these patterns with the name takes.

    A step takes at most about a microsecond.
    """
    characters, passes = _sizes(tuple(patterns))
    return characters + passes * len(name)


@lru_cache(maxsize=4096)
def _sizes(patterns: tuple[str, ...]) -> tuple[int, int]:
    """Return the patterns' total length, and how often a comparison reads each character of a name."""
    return sum(map(len, patterns)), sum(1 + pattern.count("[") + pattern.count("?") for pattern in patterns)


def repository_matches(patterns: Iterable[str], full_name: str) -> bool:
    """Return True if one of the patterns matches this repository. Case is ignored, as on the forges."""
    name = full_name.lower()
    return any(_compiled(pattern.lower()).matches(name) for pattern in patterns)


def repository_keys(patterns: Iterable[str]) -> tuple[str, ...]:
    """Return the keys under which a pipeline is stored, without duplicates and in lower case.

    The key is `octo/web` for a name and `octo/` for a glob. A lookup uses the repository's full name and its
    owner with the slash; `repository_matches` then decides.
    """
    return tuple(
        dict.fromkeys(f"{p.partition('/')[0]}/" if is_glob(p) else p for p in map(str.lower, patterns))
    )


def repository_lookup(full_name: str) -> tuple[str, str]:
    """Return the keys under which the pipelines of a repository may be stored."""
    name = full_name.lower()
    return name, f"{name.partition('/')[0]}/"


def check_glob(pattern: str) -> str:
    """Return the pattern. Raises BadValue if it is malformed or can never match a ref."""
    body = pattern.removeprefix("!")
    if not body:
        raise BadValue("bad_glob", "an empty pattern matches nothing")
    if body.startswith("!"):
        raise BadValue("bad_glob", 'one "!" is enough')
    outside_sets = _without_sets(body)
    if found := _IMPOSSIBLE.intersection(outside_sets):
        raise BadValue("bad_glob", f'no branch or tag has "{quotable(min(found))}" in its name')
    if "]+" in body:
        raise BadValue(
            "bad_glob", '"+" after a set does not repeat it', 'Write "*" for any characters: v[0-9]*'
        )
    _check_dialect(pattern, outside_sets)
    _compiled(body)
    return pattern


def _check_dialect(pattern: str, outside_sets: str, ref_prefixes: Sequence[str] = _REF_PREFIXES) -> None:
    """Raise BadValue for syntax that has a meaning in other programs and would be literal text here."""
    if _ALTERNATIVES.search(outside_sets):
        raise BadValue(
            "bad_glob",
            '"{a,b}" is no choice between a and b',
            "Write a pattern for each: release/1, release/2",
        )
    if _EXTENDED.search(pattern):
        raise BadValue(
            "bad_glob",
            '"(" after one of @, +, ?, * and ! has no meaning of its own',
            "Write a pattern for each name.",
        )
    for prefix in ref_prefixes:
        if outside_sets.startswith(prefix):
            short = quotable(outside_sets.removeprefix(prefix)) or "main"
            raise BadValue(
                "bad_glob", f"patterns are compared with names, which have no {prefix}", f"Write {short}"
            )


def check_path_glob(pattern: str) -> str:
    """Return the pattern. Raises BadValue if it is malformed or can never match a file of a repository."""
    body = pattern.removeprefix("!")
    if not body:
        raise BadValue("bad_glob", "an empty pattern matches nothing")
    if body.startswith("!"):
        raise BadValue("bad_glob", 'one "!" is enough')
    if "\\" in body or not body.isprintable():
        raise BadValue("bad_glob", 'globs of files have no "\\\\" and no control characters')
    for prefix in ("/", "./", "../"):
        if body.startswith(prefix):
            raise BadValue(
                "bad_glob",
                f'file names are relative to the repository, and none begins with "{prefix}"',
                f"Write {quotable(body.lstrip('./')) or '**'}",
            )
    if body.endswith("/"):
        raise BadValue("bad_glob", "folders are no files", f"Write {quotable(body)}**")
    outside_sets = _without_sets(body)
    if "]+" in body:
        raise BadValue("bad_glob", '"+" after a set does not repeat it', 'Write "*" for any characters.')
    _check_dialect(pattern, outside_sets, ref_prefixes=())
    _compiled(body)
    return pattern


def check_globs(patterns: Sequence[str]) -> None:
    """Raise BadValue if the list cannot admit any name."""
    if all(pattern.startswith("!") for pattern in patterns):
        raise BadValue(
            "bad_glob", "these patterns only exclude, so nothing can match", 'Begin the list with "**".'
        )


def is_glob(pattern: str) -> bool:
    """Return True if the pattern can match more than its own text."""
    return any(character in pattern for character in "*?[")


def _without_sets(body: str) -> str:
    rest, start = [], 0
    while (opening := body.find("[", start)) >= 0:
        rest.append(body[start:opening])
        start = _end_of_set(body, opening)
    return "".join([*rest, body[start:]])


def _end_of_set(body: str, opening: int) -> int:
    """Return the index after the set that opens here. As in a shell, a leading `]` belongs to the set."""
    first = opening + 1 + (body[opening + 1 : opening + 2] in {"!", "^"})
    closing = body.find("]", first + 1)
    if closing < 0:
        raise BadValue("bad_glob", '"[" is never closed')
    return closing + 1


def _accepts_set(members: str) -> Accepts:
    inverted = members[0] in "!^"
    rest = members[inverted:]
    ranges: list[tuple[str, str]] = []
    while rest:
        width = 3 if len(rest) >= 3 and rest[1] == "-" else 1
        ranges.append((rest[0], rest[width - 1]))
        rest = rest[width:]
    if any(low > high for low, high in ranges):
        raise BadValue("bad_glob", f'the set "[{quotable(members)}]" has a range that runs backwards')
    return lambda character: (
        character != "/" and any(low <= character <= high for low, high in ranges) != inverted
    )


def _accepts_any(character: str) -> bool:
    return character != "/"


def _accepts_none(_: str) -> bool:
    return False


@lru_cache(maxsize=4096)
def _compiled(body: str) -> _Glob:
    tokens: list[str | Accepts] = []
    star = globstar = gates = index = 0
    while index < len(body):
        character, end = body[index], index + 1
        if body.startswith("**/", index) and body[index - 1 : index] in {"", "/"}:
            gates |= 1 << len(tokens)
            globstar |= 2 << len(tokens)
            tokens += [_accepts_none, "/"]
            end = index + 3
            while body.startswith("**/", end):
                end += 3
        elif body.startswith("**", index):
            globstar |= 1 << len(tokens)
            end = index + 2
        elif character == "*":
            star |= 1 << len(tokens)
        elif character == "[":
            end = _end_of_set(body, index)
            tokens.append(_accepts_set(body[index + 1 : end - 1]))
        else:
            tokens.append(_accepts_any if character == "?" else character)
        index = end
    literals: dict[str, int] = {}
    for position, token in enumerate(tokens):
        if isinstance(token, str):
            literals[token] = literals.get(token, 0) | 1 << position
    sets = tuple(
        (1 << position, token) for position, token in enumerate(tokens) if not isinstance(token, str)
    )
    return _Glob(len(tokens), literals, sets, star, globstar, gates)
