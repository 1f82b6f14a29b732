"""Nested folders, deeper than any path can name."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def dig(top: Path, levels: int, mode: int = 0o755, name: str = "d") -> None:
    """Create this many folders, each inside the previous one, with a file beside each."""
    descriptor = os.open(top, FOLDER)
    for _ in range(levels):
        os.mkdir(name, dir_fd=descriptor)
        os.close(os.open("file", os.O_CREAT | os.O_CLOEXEC, dir_fd=descriptor))
        below = os.open(name, FOLDER, dir_fd=descriptor)
        os.fchmod(descriptor, mode)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)


def owners_below(top: Path, name: str = "d") -> list[int]:
    """Return the owner of each nested folder and of the file beside it."""
    owners, descriptor = [], os.open(top, FOLDER)
    while True:
        with os.scandir(descriptor) as entries:
            owners += [entry.stat(follow_symlinks=False).st_uid for entry in entries]
        try:
            below = os.open(name, FOLDER, dir_fd=descriptor)
        except FileNotFoundError:
            os.close(descriptor)
            return owners
        os.close(descriptor)
        descriptor = below


@contextmanager
def descriptors_bounded(allowed: int) -> Iterator[None]:
    """Limit this process to this many descriptors above its highest open one, within the block."""
    import resource  # noqa: PLC0415 - it exists on Unix alone

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1 + allowed, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
