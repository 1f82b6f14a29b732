"""The requests of attackers.

Pure. The tests of single attacks (`tests/security`) and `tests.attack` use it.
"""

MEBIBYTE = 1 << 20
HEAD = "version: 1\nrepository: octo/web\non: { push: {} }\njobs:\n"

MANY_MISTAKES = HEAD + "".join(f"  j{number}: {{ stepz: [], fooo: 1, barr: 2 }}\n" for number in range(3000))
"""X3: a pipeline of 113 kB with thousands of errors."""

BODY_SIZES = [25 * MEBIBYTE >> step for step in range(5)]
"""X4: bodies from the largest that is accepted, each half as large as the one before."""

LONG_BRANCH = "a" * 240
"""X5: the branch that passes the costly globs nearly to their end."""

HALF_HEAD = b"POST /webhooks/github HTTP/1.1\r\nHost: towpath\r\nX-Half: "
"""X6: a head that never ends."""


def head_of_body(size: int) -> bytes:
    """X4: the head of a webhook whose signature has the right form, and is wrong."""
    return (
        b"POST /webhooks/github HTTP/1.1\r\nHost: towpath\r\nContent-Type: application/json\r\n"
        b"X-GitHub-Event: push\r\nX-GitHub-Delivery: d\r\nX-Hub-Signature-256: sha256=%b\r\n"
        b"Content-Length: %d\r\n\r\n"
    ) % (b"0" * 64, size)


def costly_trigger(pipeline: int, patterns: int = 100) -> str:
    """X5: the trigger of a pipeline, with globs of 250 characters that are different for each pipeline."""
    globs = ", ".join(f'"{"*a" * 120}{pipeline:05}{number:05}"' for number in range(patterns))
    return f"push: {{ branches: [{globs}] }}"
