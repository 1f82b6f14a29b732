"""Decrypts the clone tokens in `repositories.clone_token`."""

from pathlib import Path

from services.executor.planning import OpenToken
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
