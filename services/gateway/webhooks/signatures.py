"""Verifies webhook signatures: HMAC-SHA256 over the raw bytes.

Only one format is accepted: 64 lower-case hexadecimal digits in one header. SHA-1 signatures are ignored. The
comparison takes the same time for every kind of mismatch.
"""

import hmac
from collections.abc import Sequence

_HEX = frozenset("0123456789abcdef")
_PREFIX = "sha256="


def claimed_signature(plain: Sequence[str], prefixed: Sequence[str]) -> str | None:
    """Return the 64 hexadecimal digits of the signature, or None if there is no well-formed signature.

    `plain` holds all values of the header with bare digits (Gitea's). `prefixed` holds all values of the
    header that begins with `sha256=` (X-Hub-Signature-256).
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
    """Return True if the signature matches one of the secrets.

    Every secret is tried, so the time does not reveal which one matched.
    """
    claimed = signature.encode("utf-8", "replace")  # bytes, because compare_digest raises on non-ASCII str
    found = False
    for secret in secrets:
        found |= hmac.compare_digest(claimed, hmac.digest(secret, body, "sha256").hex().encode())
    return found
