"""The files of a stack that people and programs read: the encryption key, and the addresses and tokens as
shell variables.

Both are readable by their owner alone, and written whole or not at all.
"""

import base64
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path


def key_file(directory: Path) -> Path:
    """The keys that secrets are encrypted with: lines `id:base64` of 32 random bytes.

    Made once; without it no stored secret can be read again.
    """
    path = directory / "key"
    if not path.exists():
        write_private(path, f"1:{base64.b64encode(secrets.token_bytes(32)).decode()}\n")
    return path


def read_environment(path: Path) -> dict[str, str]:
    """The variables of an environment file; none where there is no file."""
    if not path.exists():
        return {}
    pairs = (
        word.partition("=")
        for line in path.read_text().splitlines()
        for word in shlex.split(line, comments=True)
    )
    return {name: value for name, equals, value in pairs if equals}


def write_environment(path: Path, values: Mapping[str, str]) -> None:
    """For `. .towpath/env` in a shell: each variable is exported."""
    write_private(path, "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items()))


def write_private(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    partial.write_text(text)
    partial.replace(path)
