"""Files of a stack for people and programs: the encryption key, and addresses and tokens for the shell.

Only their owner can read them. They are replaced atomically.
"""

import base64
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path


def key_file(directory: Path) -> Path:
    """Return the file with the keys that encrypt secrets: lines `id:base64` of 32 random bytes.

    It is created once. Without it no stored secret can be decrypted.
    """
    path = directory / "key"
    if not path.exists():
        write_private(path, f"1:{base64.b64encode(secrets.token_bytes(32)).decode()}\n")
    return path


def read_environment(path: Path) -> dict[str, str]:
    """Return the variables of an environment file, or none if there is no file."""
    if not path.exists():
        return {}
    pairs = (
        word.partition("=")
        for line in path.read_text().splitlines()
        for word in shlex.split(line, comments=True)
    )
    return {name: value for name, equals, value in pairs if equals}


def write_environment(path: Path, values: Mapping[str, str]) -> None:
    """Write a file for `. .towpath/env` in a shell. It exports each variable."""
    write_private(path, "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items()))


def write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    partial.write_text(text)
    partial.replace(path)
