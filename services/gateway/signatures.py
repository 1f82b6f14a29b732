"""Signatures of webhooks: HMAC-SHA256 over the raw bytes. Pure.

A signature is believed in one spelling only, 64 lower-case hexadecimal digits in one header; SHA-1 signatures
are not looked at. Comparison takes the same time whatever is wrong.
"""

import hmac
from collections.abc import Sequence

_HEX = frozenset("0123456789abcdef")
_PREFIX = "sha256="


def claimed_signature(plain: Sequence[str], prefixed: Sequence[str]) -> str | None:
    """The 64 digits that a request claims, None when it claims none properly.

    `plain` and `prefixed` are all values of the header that holds bare digits (Gitea's) and of the one that
    begins with `sha256=` (X-Hub-Signature-256).
    """
    if len(plain) > 1 or len(prefixed) > 1:
        return None
    if plain:
        digits = plain[0]
    elif prefixed and prefixed[0].startswith(_PREFIX):
        digits = prefixed[0][len(_PREFIX) :]
    else:
        return None
    return digits if len(digits) == 64 and _HEX.issuperset(digits) else None


def is_signed(body: bytes, signature: str, secrets: Sequence[bytes]) -> bool:
    """Whether one of the secrets made this signature.

    Every secret is tried, so that time tells nothing about which one it was.
    """
    claimed = signature.encode("utf-8", "replace")  # bytes: compare_digest raises on str that is not ASCII
    found = False
    for secret in secrets:
        found |= hmac.compare_digest(claimed, hmac.digest(secret, body, "sha256").hex().encode())
    return found
