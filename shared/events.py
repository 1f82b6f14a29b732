"""Normalised events: one form for every forge, and the variables that user code gets from it.

An `Event` holds the columns of table `events` that come from the forge. Its text has no NUL and is limited in
length, so that Postgres can store it and a process can take it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

LONGEST_VARIABLE_BYTES = 4096
LONGEST_MESSAGE_BYTES = 32 * 1024
"""Limit of a commit message. Linux allows 128 KiB for one variable, and an attempt's Secret holds 900 KiB."""


_FILE_COLUMNS = frozenset({"changed_files", "files_unknown"})


class EventKind(StrEnum):
    PUSH = "push"
    TAG = "tag"
    PULL_REQUEST = "pull_request"
    SCHEDULE = "schedule"
    MANUAL = "manual"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A push of a branch or tag, or a change of a pull request."""

    kind: EventKind
    repository: str
    """The repository's full name at the time of the event."""
    trusted: bool
    """False if the code that is built may come from somebody without write access to the repository."""
    action: str | None = None
    """The action of a pull request: opened, synchronize, reopened, closed."""
    ref: str | None = None
    branch: str | None = None
    """The pushed branch, or the head branch of the pull request."""
    tag: str | None = None
    sha: str | None = None
    """The commit that is built. None if the push deleted its ref."""
    before_sha: str | None = None
    base_branch: str | None = None
    pull_request: int | None = None
    merge_sha: str | None = None
    """The forge's merge commit of head and base, if the forge names one.

    It may belong to an older head. Its parents show which one.
    """
    title: str | None = None
    message: str | None = None
    """The message of the head commit."""
    sender_login: str | None = None
    sender_id: int | None = None
    deleted: bool = False
    forced: bool = False
    happened_at: datetime | None = None
    """The time that the forge states."""
    changed_files: tuple[str, ...] | None = None
    """The files that a push of a branch changed. None if they are not known, and for other events."""
    files_unknown: str | None = None
    """Why the files of a push of a branch are not known, such as `forced`."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Event":
        """Return the event in a row of table `events`. Other columns are ignored.

        A row without the columns of the changed files gives an event without them.
        """
        values = {name: row[name] for name in cls.__slots__ if name not in _FILE_COLUMNS}
        files = row.get("changed_files")
        return cls(
            **{**values, "kind": EventKind(values["kind"])},
            changed_files=None if files is None else tuple(files),
            files_unknown=row.get("files_unknown"),
        )

    def as_row(self) -> dict[str, Any]:
        """Return the values by column, without conversion."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Ignored:
    """A delivery that starts nothing, independent of the pipelines. `reason` is a sentence for people."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """The attempt that an environment belongs to."""

    run_id: int
    run_number: int
    pipeline: str
    job: str
    attempt: int


def environment(event: Event, execution: Execution) -> dict[str, str]:
    """Return the environment variables of the event for user code.

    Event text reaches user code only through these variables, never through a shell's command line. Fields
    that the event lacks have no variable.

    Values have no NUL. A value has at most LONGEST_VARIABLE_BYTES bytes, TOWPATH_MESSAGE at most
    LONGEST_MESSAGE_BYTES. A longer value is cut between characters, and the variable with the suffix
    _TRUNCATED is `true`.

    TOWPATH_MERGE_SHA is the merge commit that the forge names. The step driver sets it only if that commit
    was checked out.
    """
    values: dict[str, object] = {
        "CI": "true",
        "TOWPATH": "true",
        "TOWPATH_EVENT": event.kind.value,
        "TOWPATH_ACTION": event.action,
        "TOWPATH_REPOSITORY": event.repository,
        "TOWPATH_REF": event.ref,
        "TOWPATH_BRANCH": event.branch,
        "TOWPATH_TAG": event.tag,
        "TOWPATH_SHA": event.sha,
        "TOWPATH_MERGE_SHA": event.merge_sha,
        "TOWPATH_BEFORE_SHA": event.before_sha,
        "TOWPATH_BASE_BRANCH": event.base_branch,
        "TOWPATH_PULL_REQUEST": event.pull_request,
        "TOWPATH_TITLE": event.title,
        "TOWPATH_MESSAGE": event.message,
        "TOWPATH_SENDER": event.sender_login,
        "TOWPATH_TRUSTED": "true" if event.trusted else "false",
        "TOWPATH_PIPELINE": execution.pipeline,
        "TOWPATH_RUN_ID": execution.run_id,
        "TOWPATH_RUN_NUMBER": execution.run_number,
        "TOWPATH_JOB": execution.job,
        "TOWPATH_ATTEMPT": execution.attempt,
    }
    variables: dict[str, str] = {}
    for name, value in values.items():
        if value is not None:
            variables |= _bounded(name, str(value))
    return variables


FIELDS = (
    "type",
    "action",
    "repository",
    "ref",
    "branch",
    "head_branch",
    "base_branch",
    "tag",
    "sha",
    "before_sha",
    "pull_request",
    "title",
    "message",
    "sender",
    "trusted",
    "forced",
)
"""The fields that pipelines can use as `event.…`."""


def context(event: Event) -> dict[str, str | int | bool | None]:
    """Return the values of FIELDS. Fields that the event lacks are None.

    `ref` differs for each branch, tag and pull request. `branch` is only that of a push; a pull request has
    `head_branch` and `base_branch`.
    """
    is_pull_request = event.pull_request is not None
    return {
        "type": event.kind.value,
        "action": event.action,
        "repository": event.repository,
        "ref": f"refs/pull/{event.pull_request}" if is_pull_request else event.ref,
        "branch": None if is_pull_request else event.branch,
        "head_branch": event.branch if is_pull_request else None,
        "base_branch": event.base_branch,
        "tag": event.tag,
        "sha": event.sha,
        "before_sha": event.before_sha,
        "pull_request": event.pull_request,
        "title": event.title,
        "message": event.message,
        "sender": event.sender_login,
        "trusted": event.trusted,
        "forced": event.forced,
    }


def _bounded(name: str, value: str) -> dict[str, str]:
    """Return the variable, and a second one that marks it as truncated if it was cut."""
    data = value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace")
    longest = LONGEST_MESSAGE_BYTES if name == "TOWPATH_MESSAGE" else LONGEST_VARIABLE_BYTES
    mark = {f"{name}_TRUNCATED": "true"} if len(data) > longest else {}
    return {name: data[:longest].decode("utf-8", "ignore"), **mark}
