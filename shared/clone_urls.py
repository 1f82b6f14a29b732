"""Checks the clone URLs of repositories and of their submodules. Host names are not resolved.

An executor fetches from this URL with the repository's credentials. It must not point into the installation's
own network, and no part of it may be interpreted as a command-line option.
"""

import ipaddress
import re
from collections.abc import Iterator
from urllib.parse import SplitResult, urlsplit

_CHARACTERS = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]{1,2000}")
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_TRANSLATED = tuple(ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "::/96", "::ffff:0:0:0/96"))
"""IPv6 networks that contain an IPv4 address in the last 32 bits.

They are defined in RFC 6052, RFC 4291 (compatible addresses, no longer in use) and RFC 2765.
"""
_LOCAL_TRANSLATION = ipaddress.IPv6Network("64:ff9b:1::/48")
"""The network of RFC 8215, for local translation between IPv6 and IPv4."""
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_LOCAL_NAMES = ("localhost", "local", "internal", "localdomain", "home.arpa", "cluster.local", "svc")


def clone_url_fault(url: str, *, allow_local: bool) -> str | None:
    """Return the error of a clone URL in one sentence, or None if it may be used."""
    if not _CHARACTERS.fullmatch(url) or url.startswith("-"):
        return "Only the characters of a URL are allowed here, 2,000 at most, and no dash at the beginning."
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "This is not a URL."
    if "@" in parts.netloc:
        return "Credentials do not belong into the URL: use clone_token."
    if parts.query or parts.fragment or port == 0:
        return "A clone URL is a scheme, a host, perhaps a port, and a path."
    return _place_fault(parts, allow_local=allow_local)


def address_of(url: str) -> tuple[str, str, int | None, str]:
    """Return scheme, host, port and path of a valid URL. A clone token may be used only for this address."""
    parts = urlsplit(url)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").rstrip("."), port, parts.path


def is_private(address: str) -> bool:
    """Return whether a connection to this IP address may reach a private one."""
    return not all(map(_is_public, _reached_by(ipaddress.ip_address(address))))


def _place_fault(parts: SplitResult, *, allow_local: bool) -> str | None:
    if parts.scheme == "file" and allow_local:
        return (
            None
            if not parts.netloc and parts.path.startswith("/") and ".." not in parts.path.split("/")
            else "file:///absolute/path is needed."
        )
    if parts.scheme != "https" and not (parts.scheme == "http" and allow_local):
        return "The URL must begin with https://."
    host = (parts.hostname or "").rstrip(".")
    if not host or len(parts.path) < 2 or parts.path.startswith("/-"):
        return "A host and the repository's path are needed."
    return None if allow_local else _host_fault(host)


def _host_fault(host: str) -> str | None:
    try:
        return "This address is private." if is_private(host) else None
    except ValueError:
        return _name_fault(host)


def _reached_by(address: Address) -> Iterator[Address]:
    """Yield all addresses that a connection to this address may reach.

    Some IPv6 addresses contain an IPv4 address, and translators and tunnels forward them to it.
    """
    if address.version == 4:
        yield address
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
        return
    yield address
    if address.sixtofour is not None:
        yield address.sixtofour
    if any(address in network for network in _TRANSLATED):
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)


def _is_public(address: Address) -> bool:
    is_local = getattr(address, "is_site_local", False) or address in _LOCAL_TRANSLATION
    return address.is_global and not address.is_multicast and not is_local


def _name_fault(host: str) -> str | None:
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        return "This is not a host name."
    if labels[-1].isdigit() or labels[-1].startswith("0x") or len(labels) < 2:
        return "A full host name is needed."  # 2130706433 and 0x7f.1 are forms of 127.0.0.1
    return (
        "This name is private."
        if any(host == name or host.endswith(f".{name}") for name in _LOCAL_NAMES)
        else None
    )
