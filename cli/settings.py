"""Where the API is and who asks: from the environment, else from `.towpath/env` of the folder one stands in.

The only module here that reads either.
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
    """An address without a slash at its end, and a token."""

    url: str
    token: str


def read_settings() -> Settings:
    """TOWPATH_URL and TOWPATH_TOKEN. Raises NotConfigured."""
    return settings_from(os.environ, _variables_in(ENVIRONMENT_FILE))


def settings_from(environment: Mapping[str, str], file: Mapping[str, str]) -> Settings:
    """The environment counts before the file; the file's token goes to the file's address alone.

    Raises NotConfigured, with what to do about it.
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
    """Whether output may have colours: at a terminal, unless NO_COLOR is set (no-color.org)."""
    return stream_is_terminal and not os.environ.get("NO_COLOR")


def _variables_in(path: Path) -> dict[str, str]:
    """The assignments of a shell file such as `export TOWPATH_URL=…`; none where there is no such file."""
    if not path.is_file():
        return {}
    words = (
        word
        for line in path.read_text(encoding="utf-8").splitlines()
        for word in shlex.split(line, comments=True)
    )
    return {name: value for name, equals, value in (word.partition("=") for word in words) if equals}
