"""Settings of the command: the API's address and the token, from the environment or from `.towpath/env`.

The file is looked up in the current folder. This is the only module of the command that reads either.
"""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .errors import NotConfigured

ENVIRONMENT_FILE = Path(".towpath/env")


@dataclass(frozen=True)
class Settings:
    """The API's address without a trailing slash, and a token."""

    url: str
    token: str


def read_settings() -> Settings:
    """Return the settings from TOWPATH_URL and TOWPATH_TOKEN. Raises NotConfigured."""
    return settings_from(os.environ, _variables_in(ENVIRONMENT_FILE))


def settings_from(environment: Mapping[str, str], file: Mapping[str, str]) -> Settings:
    """Return the settings. The environment takes precedence over the file.

    The file's token is used only for the file's address. Raises NotConfigured with a fix.
    """
    url = environment.get("TOWPATH_URL") or file.get("TOWPATH_URL", "")
    token = environment.get("TOWPATH_TOKEN") or (
        file.get("TOWPATH_TOKEN", "") if url == file.get("TOWPATH_URL") else ""
    )
    if not url:
        fix = "export TOWPATH_URL=http://127.0.0.1:8420, or go to the folder of `make up`"
        raise NotConfigured("TOWPATH_URL is not set, and there is no .towpath/env here", fix)
    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        raise NotConfigured("TOWPATH_URL is no address", "it looks like https://towpath.example.org")
    if not token:
        raise NotConfigured(
            "TOWPATH_TOKEN is not set, and there is none in .towpath/env here",
            "export TOWPATH_TOKEN=tp_…; `towpath tokens create` makes one",
        )
    if not token.isascii() or not token.isprintable():
        raise NotConfigured("TOWPATH_TOKEN is no token", "it begins with tp_ and has 39 letters and digits")
    return Settings(url.rstrip("/"), token)


def is_coloured(stream_is_terminal: bool) -> bool:
    """Return True if output may have colours: at a terminal, unless NO_COLOR is set (no-color.org)."""
    return stream_is_terminal and not os.environ.get("NO_COLOR")


def _variables_in(path: Path) -> dict[str, str]:
    """Return the assignments in a shell file, such as `export TOWPATH_URL=…`, or none if there is no file."""
    if not path.is_file():
        return {}
    words = (
        word
        for line in path.read_text(encoding="utf-8").splitlines()
        for word in shlex.split(line, comments=True)
    )
    return {name: value for name, equals, value in (word.partition("=") for word in words) if equals}
