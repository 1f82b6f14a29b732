"""A job that says much: numbered lines of exactly 100 bytes, so that what was stored can be proven to be what
was printed. Pure.
"""

import hashlib
from collections.abc import Iterable

LINE_BYTES = 100
_WORDS = "the quick brown fox jumps over the lazy dog and runs on along the towpath until it is dark. "
_WORDS = _WORDS[: LINE_BYTES - 9]


def command(lines: int) -> str:
    """A shell command that prints them, several times faster than any of the systems stores them."""
    return f"seq -f '%07.0f {_WORDS}' 1 {lines}"


def content(lines: int) -> Iterable[bytes]:
    """The lines themselves, with their line feeds."""
    words = _WORDS.encode()
    return (b"%07d %b\n" % (number, words) for number in range(1, lines + 1))


def proof(lines: Iterable[bytes]) -> tuple[int, str]:
    """(bytes, SHA-256) of those lines that a loud job printed; what a system adds of its own, a heading or a
    step's mark, is left out.
    """
    digest, count = hashlib.sha256(), 0
    for line in lines:
        if line[:7].isdigit() and line[7:8] == b" ":
            digest.update(line)
            count += len(line)
    return count, digest.hexdigest()
