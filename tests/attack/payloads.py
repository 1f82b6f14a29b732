"""The requests of the attackers.

The tests of single attacks (`tests/security`) and `tests.attack` use them. This module does no I/O.
"""

MEBIBYTE = 1 << 20
HEAD = "version: 1\nrepository: octo/web\non: { push: {} }\njobs:\n"

MANY_MISTAKES = HEAD + "".join(f"  j{number}: {{ stepz: [], fooo: 1, barr: 2 }}\n" for number in range(3000))
"""X3: a pipeline of 113 kB with thousands of errors."""

BODY_SIZES = [25 * MEBIBYTE >> step for step in range(5)]
"""X4: sizes of bodies.

The first is the largest that is accepted; each further one is half the previous size.
"""

LONG_BRANCH = "a" * 240
"""X5: the branch that matches the costly globs almost to their end."""

HALF_HEAD = b"POST /webhooks/github HTTP/1.1\r\nHost: towpath\r\nX-Half: "
"""X6: a head that never ends."""


def head_of_body(size: int) -> bytes:
    """X4: return the head of a webhook whose signature has the right form but is wrong."""
    return (
        b"POST /webhooks/github HTTP/1.1\r\nHost: towpath\r\nContent-Type: application/json\r\n"
        b"X-GitHub-Event: push\r\nX-GitHub-Delivery: d\r\nX-Hub-Signature-256: sha256=%b\r\n"
        b"Content-Length: %d\r\n\r\n"
    ) % (b"0" * 64, size)


def costly_trigger(pipeline: int, patterns: int = 100) -> str:
    """X5: return the trigger of a pipeline. Its globs have 250 characters and are unique to the pipeline."""
    globs = ", ".join(f'"{"*a" * 120}{pipeline:05}{number:05}"' for number in range(patterns))
    return f"push: {{ branches: [{globs}] }}"
