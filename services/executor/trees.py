"""Removes trees that user code made, and changes their owner. The trees may have any depth and size.

Both functions are iterative, follow no symbolic link, and use a bounded number of descriptors. A removal also
uses bounded memory: a folder that is nested too deeply is moved to the top of its tree, so that the way back
up need not be stored. A removal never opens `..`, because a process that is still alive could have moved the
folder elsewhere.
"""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

_LEVELS = 16
"""Folders that a removal has open at once, with two descriptors each. In flatter trees, nothing is moved."""
_PART_ENTRIES = 10_000
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_FOLDER = (errno.ENOTDIR, errno.ELOOP)


def remove_tree(tree: Path) -> None:
    """Remove the whole tree. A tree that does not exist counts as removed.

    Raises OSError if something cannot be removed; the rest is removed nevertheless.
    """
    while not remove_part(tree, _PART_ENTRIES):
        pass


def remove_part(tree: Path, entries: int) -> bool:
    """Remove about this many entries of the tree, and return whether the tree is gone.

    Raises OSError if nothing that is left can be removed.
    """
    try:
        parent = os.open(tree.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return True
    try:
        found = _Pass(parent, tree.name)
        try:
            return found.run(entries)
        finally:
            found.close()
    finally:
        os.close(parent)


class _Level:
    """A folder that is being emptied."""

    __slots__ = ("descriptor", "entries", "name")

    def __init__(self, descriptor: int, name: str) -> None:
        self.descriptor = descriptor
        self.name = name
        self.entries: Iterator[os.DirEntry[str]] = os.scandir(descriptor)

    def close(self) -> None:
        self.entries.close()  # type: ignore[attr-defined]  # of scandir's iterator
        os.close(self.descriptor)


class _Pass:
    """One walk over a tree. Folders that it moves to the top are left for the next walk."""

    def __init__(self, parent: int, name: str) -> None:
        self._parent = parent
        self._name = name
        self._levels: list[_Level] = []
        self._removed = 0
        self._error: OSError | None = None

    def run(self, entries: int) -> bool:
        try:
            self._enter(self._parent, self._name)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno not in _NO_FOLDER:
                raise
            os.unlink(self._name, dir_fd=self._parent)
            return True
        while self._levels and self._removed < entries:
            try:
                self._step()
            except FileNotFoundError:
                continue
            except OSError as error:
                self._error = self._error or error
        if self._removed == 0 and self._error is not None:
            raise self._error
        return not self._levels and self._error is None

    def close(self) -> None:
        while self._levels:
            self._levels.pop().close()

    def _step(self) -> None:
        level = self._levels[-1]
        entry = next(level.entries, None)
        if entry is None:
            self._levels.pop().close()
            os.rmdir(level.name, dir_fd=self._levels[-1].descriptor if self._levels else self._parent)
        elif not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.name, dir_fd=level.descriptor)
        elif len(self._levels) < _LEVELS:
            self._enter(level.descriptor, entry.name)
            return
        else:
            self._move_to_top(level.descriptor, entry.name)
        self._removed += 1

    def _enter(self, above: int, name: str) -> None:
        descriptor = _opened(above, name)
        try:
            self._levels.append(_Level(descriptor, name))
        except BaseException:
            os.close(descriptor)
            raise

    def _move_to_top(self, above: int, name: str) -> None:
        os.close(_opened(above, name))  # a folder that its owner can't write can't be moved to another one
        top = self._levels[0].descriptor
        os.rename(name, f".moved-{os.urandom(8).hex()}", src_dir_fd=above, dst_dir_fd=top)


def _opened(above: int, name: str) -> int:
    """Return a descriptor of this folder. Unless root, first give the owner full access to it."""
    if os.geteuid() != 0:
        handle = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
        try:
            Path(f"/proc/self/fd/{handle}").chmod(0o700)
        finally:
            os.close(handle)
    return os.open(name, _FOLDER, dir_fd=above)


def give_away(tree: Path, owner: tuple[int, int]) -> None:
    """Change the owner of the tree and of everything in it to this uid and gid.

    Raises OSError, also if a folder was moved meanwhile. Memory grows with the depth, which git bounds: no
    path in a git repository is longer than 4096 bytes.
    """
    descriptor = os.open(tree, _FOLDER)
    try:
        os.fchown(descriptor, *owner)
        way = [(_identity(descriptor), _give_entries(descriptor, owner))]
        while way:
            _, folders = way[-1]
            if folders:
                following = os.open(folders.pop(), _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = following
                way.append((_identity(descriptor), _give_entries(descriptor, owner)))
                continue
            way.pop()
            if way:
                following = _above(descriptor, way[-1][0])
                os.close(descriptor)
                descriptor = following
    finally:
        os.close(descriptor)


def _give_entries(folder: int, owner: tuple[int, int]) -> list[str]:
    """Change the owner of the entries of this folder. Returns the names of the folders among them."""
    folders = []
    with os.scandir(folder) as entries:
        for entry in entries:
            os.chown(entry.name, *owner, dir_fd=folder, follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                folders.append(entry.name)
    return folders


def _above(folder: int, expected: tuple[int, int]) -> int:
    """Return a descriptor of the parent folder. Raises OSError if it is not the expected one."""
    above = os.open("..", _FOLDER, dir_fd=folder)
    if _identity(above) == expected:
        return above
    os.close(above)
    raise OSError(errno.ESTALE, "a folder was moved while its tree was given away")


def _identity(descriptor: int) -> tuple[int, int]:
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino
