"""A job with much output: numbered lines of exactly 100 bytes, so that its log can be verified. Pure."""

import hashlib
from collections.abc import Iterable

LINE_BYTES = 100
_WORDS = "the quick brown fox jumps over the lazy dog and runs on along the towpath until it is dark. "
_WORDS = _WORDS[: LINE_BYTES - 9]


def command(lines: int) -> str:
    """Return a shell command that prints these lines, several times faster than the systems store them."""
    return f"seq -f '%07.0f {_WORDS}' 1 {lines}"


def content(lines: int) -> Iterable[bytes]:
    """Return the lines with their line feeds."""
    words = _WORDS.encode()
    return (b"%07d %b\n" % (number, words) for number in range(1, lines + 1))


def proof(lines: Iterable[bytes]) -> tuple[int, str]:
    """Return (bytes, SHA-256) of the lines that a loud job printed.

    Lines that a system adds, such as a heading or a step marker, are left out.
    """
    digest, count = hashlib.sha256(), 0
    for line in lines:
        if line[:7].isdigit() and line[7:8] == b" ":
            digest.update(line)
            count += len(line)
    return count, digest.hexdigest()
