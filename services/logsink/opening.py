"""How a stream gets its follower: the source for its location, and the masker for its repository's secrets."""

from pathlib import Path

from services.logsink.committer import Committer
from services.logsink.follower import Follower, Pace
from services.logsink.masking import Masker
from services.logsink.pod_directory import PodDirectory
from services.logsink.sink import StreamUnreadable
from services.logsink.sources import Source
from services.logsink.sources.cri_files import CriFileSource
from services.logsink.store import LogStore, Stream
from services.logsink.wakeups import Wakeups
from shared.crypto import DecryptionFailed, Keyring


def masker_of(stream: Stream, keyring: Keyring | None) -> Masker:
    """Masks the clone token and the webhook secret of the stream's repository.

    Raises StreamUnreadable when they can't be decrypted: lines that can't be masked are not stored.
    """
    stored = {"clone_token": stream.clone_token, "webhook_secret": stream.webhook_secret}
    secrets = {column: value for column, value in stored.items() if value is not None}
    if not secrets:
        return Masker([])
    if keyring is None:
        raise StreamUnreadable("there are secrets to mask and no key file (TOWPATH_ENCRYPTION_KEY_FILE)")
    try:
        return Masker(keyring.decrypt(value, table="repositories", column=column, row=stream.repository_id) for column, value in secrets.items())
    except DecryptionFailed as error:
        raise StreamUnreadable(str(error)) from error


def source_of(stream: Stream, masker: Masker, wakeups: Wakeups) -> Source:
    """Raises StreamUnreadable where the location is of a kind that this release does not read."""
    if not stream.location.startswith("/"):
        raise StreamUnreadable(f"no source for {stream.location}")
    source = CriFileSource(PodDirectory(Path(stream.location)), stream.container, masker, wakeups)
    source.start_at(stream.cursor)
    return source


class Followers:
    """Makes a stream's follower."""

    def __init__(self, store: LogStore, committer: Committer, wakeups: Wakeups, keyring: Keyring | None, pace: Pace) -> None:
        self._store = store
        self._committer = committer
        self._wakeups = wakeups
        self._keyring = keyring
        self._pace = pace

    def follower_of(self, stream: Stream) -> Follower:
        """Raises StreamUnreadable."""
        source = source_of(stream, masker_of(stream, self._keyring), self._wakeups)
        return Follower(stream, source, self._committer, self._store, self._pace)
