"""Decrypts the clone tokens in `repositories.clone_token` and the values in `secret_versions.value`."""

from collections.abc import Callable
from pathlib import Path

from services.executor.planning import OpenSecret, OpenToken
from shared.crypto import DecryptionFailed, Keyring


def clone_token_opener(key_file: Path | None) -> OpenToken:
    """Return a function that decrypts the clone token of a repository. Raises KeyringInvalid."""
    return _opener(key_file, "repositories", "clone_token")


def secret_opener(key_file: Path | None) -> OpenSecret:
    """Return a function that decrypts a version of a secret. Raises KeyringInvalid."""
    return _opener(key_file, "secret_versions", "value")


def _opener(key_file: Path | None, table: str, column: str) -> Callable[[bytes, int], str]:
    """Without a key file, every call of the returned function raises DecryptionFailed."""
    keyring = None if key_file is None else Keyring.from_file(key_file)

    def decrypted(stored: bytes, row: int) -> str:
        if keyring is None:
            raise DecryptionFailed("the executor has no encryption keys")
        return keyring.decrypt(stored, table=table, column=column, row=row).decode()

    return decrypted
