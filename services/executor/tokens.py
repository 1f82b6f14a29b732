"""Opening the clone tokens that are stored sealed."""

from pathlib import Path

from services.executor.planning import OpenToken
from shared.crypto import DecryptionFailed, Keyring


def clone_token_opener(key_file: Path | None) -> OpenToken:
    """Without a key file no token can be opened. Raises KeyringInvalid."""
    keyring = None if key_file is None else Keyring.from_file(key_file)

    def open_token(sealed: bytes, repository_id: int) -> str:
        if keyring is None:
            raise DecryptionFailed("the executor has no encryption keys")
        return keyring.decrypt(sealed, table="repositories", column="clone_token", row=repository_id).decode()

    return open_token
