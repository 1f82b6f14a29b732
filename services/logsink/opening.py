"""Creation of followers: the source for a stream's location, and the masker for the attempt's secrets."""

from collections.abc import Callable, Mapping
from pathlib import Path

from services.logsink.clusters import KubernetesCluster
from services.logsink.committer import Committer
from services.logsink.follower import Follower, Pace, UnreadLog
from services.logsink.lines import LONGEST_LINE_BYTES
from services.logsink.locations import NODE_SCHEME, PodName, parse
from services.logsink.node_pod import NodePod
from services.logsink.pod_directory import PodDirectory
from services.logsink.sink import StreamUnreadable
from services.logsink.sources import End, Source
from services.logsink.sources.cri_files import CriFileSource
from services.logsink.sources.ended import Ended
from services.logsink.sources.kubernetes import ContainerLog, KubernetesSource
from services.logsink.step_ends import StepEnds, mark_in_log
from services.logsink.store import LogStore, Stream
from services.logsink.wakeups import Wakeups
from shared.crypto import DecryptionFailed, Keyring
from shared.masking import Masker

_STEPS_CONTAINER = "job"
SourceOf = Callable[[Stream, Masker], Source]
"""Creates the source of a stream. Raises StreamUnreadable for a kind of location that is not read here."""


def masker_of(stream: Stream, keyring: Keyring | None) -> Masker:
    """Returns a masker for the attempt's secrets, and the clone token and webhook secret of its repository.

    Raises StreamUnreadable if they are not all there, or cannot be decrypted: lines that cannot be masked are
    not stored.
    """
    versions = sorted(stream.secret_versions or ())
    if len(versions) != len(stream.secret_values):
        raise StreamUnreadable("a version of a secret is missing, so the log can't be masked")
    stored = [
        ("repositories", column, stream.repository_id, value)
        for column, value in (("clone_token", stream.clone_token), ("webhook_secret", stream.webhook_secret))
        if value is not None
    ]
    stored += [
        ("secret_versions", "value", version, value)
        for version, value in zip(versions, stream.secret_values, strict=True)
    ]
    if not stored:
        return Masker([])
    if keyring is None:
        raise StreamUnreadable("there are secrets to mask and no key file (TOWPATH_ENCRYPTION_KEY_FILE)")
    try:
        return Masker(
            keyring.decrypt(value, table=table, column=column, row=row)
            for table, column, row, value in stored
        )
    except DecryptionFailed as error:
        raise StreamUnreadable(str(error)) from error


def read_here(
    wakeups: Wakeups,
    clusters: Mapping[str, KubernetesCluster],
    rotated_bytes: int,
    longest_line_bytes: int = LONGEST_LINE_BYTES,
) -> SourceOf:
    """Returns the log sink's own sources: files of the local cluster, and logs through API servers.

    `rotated_bytes`: see `ContainerLog`.
    """

    def source_of(stream: Stream, masker: Masker) -> Source:
        place = parse(stream.location)
        source: CriFileSource | KubernetesSource
        if isinstance(place, Path):
            source = CriFileSource(PodDirectory(place), stream.container, masker, wakeups, longest_line_bytes)
        elif place is None or stream.location.startswith(NODE_SCHEME) or stream.cluster not in clusters:
            raise StreamUnreadable(f"no source for {stream.location} of the cluster {stream.cluster}")
        else:
            has_steps = stream.container == _STEPS_CONTAINER
            log = ContainerLog(place, stream.container, rotated_bytes, has_steps, longest_line_bytes)
            source = KubernetesSource(clusters[stream.cluster], log, masker)
        source.start_at(stream.cursor)
        return source

    return source_of


def read_on_node(
    wakeups: Wakeups,
    cluster: KubernetesCluster,
    root: Path,
    longest_line_bytes: int = LONGEST_LINE_BYTES,
) -> SourceOf:
    """Returns the node agent's source: the kubelet's log files under `root`."""

    def source_of(stream: Stream, masker: Masker) -> Source:
        place = parse(stream.location)
        if not isinstance(place, PodName):
            raise StreamUnreadable(f"no source for {stream.location} on a node")
        pod = NodePod(root, cluster, place, stream.container)
        source = CriFileSource(pod, stream.container, masker, wakeups, longest_line_bytes)
        source.start_at(stream.cursor)
        return source

    return source_of


class Followers:
    """Factory for the followers of streams."""

    def __init__(
        self, store: LogStore, committer: Committer, source_of: SourceOf, keyring: Keyring | None, pace: Pace
    ) -> None:
        self._store = store
        self._committer = committer
        self._source_of = source_of
        self._keyring = keyring
        self._pace = pace

    def follower_of(self, stream: Stream) -> Follower:
        """Returns the follower of a stream. Raises StreamUnreadable."""
        masker = masker_of(stream, self._keyring)
        source = self._source_of(stream, masker)
        has_steps = stream.container == _STEPS_CONTAINER
        step_mark = mark_in_log(stream.creation_token, masker) if has_steps else None
        log = UnreadLog(source, StepEnds(step_mark))
        return Follower(stream, log, self._committer, self._store, self._pace)

    def ending(self, end: End) -> Callable[[Stream], Follower]:
        """Returns a factory for followers that read nothing more and seal their stream with this end."""

        def follower_of(stream: Stream) -> Follower:
            log = UnreadLog(Ended(end), StepEnds(None))
            return Follower(stream, log, self._committer, self._store, self._pace)

        return follower_of
