"""Decrypts the clone tokens in `repositories.clone_token` and the values in `secret_versions.value`."""

from pathlib import Path

from services.executor.planning import OpenSecret, OpenToken
from shared.crypto import DecryptionFailed, Keyring


def clone_token_opener(key_file: Path | None) -> OpenToken:
    """Return a function that decrypts clone tokens. Raises KeyringInvalid.

    Without a key file, every call of the function raises DecryptionFailed.
    """
    keyring = None if key_file is None else Keyring.from_file(key_file)

    def open_token(sealed: bytes, repository_id: int) -> str:
        if keyring is None:
            raise DecryptionFailed("the executor has no encryption keys")
        return keyring.decrypt(sealed, table="repositories", column="clone_token", row=repository_id).decode()

    return open_token


def secret_opener(key_file: Path | None) -> OpenSecret:
    """Return a function that decrypts versions of secrets. Raises KeyringInvalid.

    Without a key file, every call of the function raises DecryptionFailed.
    """
    keyring = None if key_file is None else Keyring.from_file(key_file)

    def open_secret(sealed: bytes, version_id: int) -> str:
        if keyring is None:
            raise DecryptionFailed("the executor has no encryption keys")
        return keyring.decrypt(sealed, table="secret_versions", column="value", row=version_id).decode()

    return open_secret
