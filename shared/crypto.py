"""Encryption of stored secrets, and API tokens.

Secrets are encrypted with AES-256-GCM. Table, column and row are authenticated with the value, so a value
that was copied to another row does not decrypt. A token is `tp_`, 30 random base62 characters, and a CRC32
checksum of these as 6 base62 characters. Only the token's SHA-256 hash is stored.
"""

import base64
import hashlib
import os
import re
import secrets
import zlib
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_TOKEN = re.compile(r"tp_[0-9A-Za-z]{36}\Z")


class KeyringInvalid(Exception):
    """The key file cannot be used. The message gives the reason and never contains a key."""


class DecryptionFailed(Exception):
    """No key decrypts this value, or the value was encrypted for another row."""


class Keyring:
    """Keys by their ids. The first key encrypts; all keys decrypt."""

    def __init__(self, keys: dict[str, bytes]) -> None:
        if not keys:
            raise KeyringInvalid("no keys")
        self._ciphers = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._first = next(iter(keys))

    @classmethod
    def from_file(cls, path: Path) -> "Keyring":
        """Read the keys from a file with lines `id:base64`, each key with 32 bytes. Raises KeyringInvalid."""
        keys: dict[str, bytes] = {}
        for number, line in enumerate(path.read_text(encoding="ascii", errors="replace").splitlines(), 1):
            if not line.strip():
                continue
            key_id, _, encoded = line.strip().partition(":")
            try:
                key = base64.b64decode(encoded, validate=True)
            except ValueError as error:
                raise KeyringInvalid(f"{path}:{number}: not base64") from error
            if not re.fullmatch(r"[a-z0-9-]{1,16}", key_id) or len(key) != 32 or key_id in keys:
                raise KeyringInvalid(
                    f"{path}:{number}: wanted a new id of a-z, 0-9 and -, a colon, and 32 bytes in base64"
                )
            keys[key_id] = key
        return cls(keys)

    @property
    def first(self) -> str:
        """Return the id of the key that encrypts."""
        return self._first

    def encrypt(self, value: bytes, *, table: str, column: str, row: str | int) -> bytes:
        """Return key id, nonce and encrypted value as one byte string.

        `row` must identify the row permanently.
        """
        nonce = os.urandom(12)
        sealed = self._ciphers[self._first].encrypt(nonce, value, _place(table, column, row))
        return self._first.encode() + b":" + nonce + sealed

    def decrypt(self, stored: bytes, *, table: str, column: str, row: str | int) -> bytes:
        """Return the value that `encrypt` got for the same table, column and row. Raises DecryptionFailed."""
        key_id, _, rest = stored.partition(b":")
        cipher = self._ciphers.get(key_id.decode("ascii", "replace"))
        if cipher is None:
            raise DecryptionFailed(f"{table}.{column}: its key is not in the key file")
        try:
            return cipher.decrypt(rest[:12], rest[12:], _place(table, column, row))
        except (InvalidTag, ValueError) as error:  # ValueError: too short for a nonce
            raise DecryptionFailed(
                f"{table}.{column}: the value is not the one stored in this row"
            ) from error


def _place(table: str, column: str, row: str | int) -> bytes:
    return f"{table}.{column}:{row}".encode()


def new_token() -> str:
    body = "tp_" + "".join(secrets.choice(_BASE62) for _ in range(30))
    return body + _checksum(body)


def token_is_wellformed(token: str) -> bool:
    """Return True if form and checksum are right. Other tokens need no database lookup."""
    return bool(_TOKEN.match(token)) and secrets.compare_digest(token[33:], _checksum(token[:33]))


def hash_token(token: str) -> bytes:
    """Return the hash that is stored of a token. A token has 178 random bits, so a plain hash is enough."""
    return hashlib.sha256(token.encode()).digest()


def hash_secret(secret: str) -> bytes:
    """Return the hash that is stored of a random secret of 256 bits, such as that of a session."""
    return hashlib.sha256(secret.encode()).digest()


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = ""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits
