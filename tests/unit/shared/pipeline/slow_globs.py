"""A slow matcher of globs, written from GitHub's documentation and not from our code.

The rules are those of the "Filter pattern cheat sheet" of docs.github.com (workflow syntax):

- `*` matches zero or more characters, but not `/`.
- `**` matches zero or more of any character.
- `?` matches zero or one of the preceding character, `+` one or more of it.
- `[]` matches one of the characters listed, or of the ranges `a-z`, `A-Z` and `0-9`.
- `!` at the start of a pattern negates earlier patterns. The order counts: a negative pattern that matches
  after a positive one excludes the name, and a positive one that matches after a negative one includes it
  again.
- Its examples add one rule: a `**/` that begins a segment also matches nothing, so `**/README.md` matches
  `README.md`, and `docs/**/*.md` matches `docs/README.md`.

`Dialect.TOWPATH` differs on purpose in four ways, which docs/pipeline-reference.md states (Globs):

- `?` is exactly one character except `/`, as in a shell.
- `+` is an ordinary character. After a set it is refused, because nothing else can be meant by it.
- `[!a]` is one character that is not in the set.
- `**/` at the start of a segment matches whole folders or nothing. The documentation of GitHub gives no
  example that differs.

The matcher tries every length of every part, so it takes exponential time: give it short texts.
"""

from collections.abc import Iterator, Sequence
from enum import Enum


class Dialect(Enum):
    GITHUB = "github"
    TOWPATH = "towpath"


def admits(patterns: Sequence[str], name: str, dialect: Dialect) -> bool:
    """Return whether a list of patterns lets the name in."""
    is_in = False
    for pattern in patterns:
        if matches(pattern.removeprefix("!"), name, dialect):
            is_in = not pattern.startswith("!")
    return is_in


def matches(pattern: str, name: str, dialect: Dialect, *, begins_segment: bool = True) -> bool:
    """Return whether the pattern, without a leading `!`, matches the whole name."""
    if not pattern:
        return not name
    if begins_segment and pattern.startswith("**/"):
        starts = [0, *(index + 1 for index, sign in enumerate(name) if sign == "/")]
        return any(matches(pattern[3:], name[start:], dialect) for start in starts)
    if pattern.startswith("**"):
        return any(_rest(pattern[2:], name[taken:], dialect) for taken in range(len(name) + 1))
    if pattern[0] == "*":
        reach = (name + "/").index("/")
        return any(_rest(pattern[1:], name[taken:], dialect) for taken in range(reach + 1))
    part, rest = _first(pattern)
    if dialect is Dialect.GITHUB and rest[:1] in {"?", "+"}:
        return any(
            _rest(rest[1:], name[taken:], dialect, part)
            for taken in _repeated(part, name, most=1 if rest[0] == "?" else len(name))
            if taken or rest[0] == "?"
        )
    return bool(name) and _is_one(part, name[0], dialect) and _rest(rest, name[1:], dialect, part)


def _rest(pattern: str, name: str, dialect: Dialect, before: str = "") -> bool:
    return matches(pattern, name, dialect, begins_segment=before == "/")


def _first(pattern: str) -> tuple[str, str]:
    """Split off the first character or set."""
    end = pattern.index("]", 2) + 1 if pattern[0] == "[" else 1
    return pattern[:end], pattern[end:]


def _repeated(part: str, name: str, most: int) -> Iterator[int]:
    """Yield how many characters at the start of the name can be repetitions of this part."""
    yield 0
    for index, sign in enumerate(name[:most]):
        if not _is_one(part, sign, Dialect.GITHUB):
            return
        yield index + 1


def _is_one(part: str, sign: str, dialect: Dialect) -> bool:
    """Return whether one character or set of a pattern stands for this character of a name."""
    if dialect is Dialect.TOWPATH and part == "?":
        return sign != "/"
    if part[0] != "[":
        return part == sign
    members = part[1:-1]
    if dialect is Dialect.TOWPATH and members[0] == "!":
        return sign != "/" and sign not in _listed(members[1:])
    return sign in _listed(members)


def _listed(members: str) -> str:
    """Return all characters of a set, with the ranges written out."""
    signs = ""
    while members:
        if members[1:2] == "-" and len(members) >= 3:
            signs += "".join(map(chr, range(ord(members[0]), ord(members[2]) + 1)))
            members = members[3:]
        else:
            signs += members[0]
            members = members[1:]
    return signs
