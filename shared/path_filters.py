"""Path filters: decides whether the files that an event changed start a pipeline, and gives the reason.

A file counts if `include` admits it and `exclude` does not. One file that counts is enough. If the files are
not known, or comparing them takes too long, the filter counts as matched, because a run too many costs less
than a run that is missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from shared.events import Event, EventKind
from shared.pipeline.globs import matches, steps_to_compare
from shared.pipeline.model import PathFilter, Pipeline, PullRequestTrigger, PushTrigger
from shared.quoting import listed, shown

FILE_STEPS = 1_000_000
"""Steps of glob matching for files that one event may cost each owner. They take at most about 0.3 s."""

_FILES_SHOWN = 3

_UNKNOWN = {
    "new_branch": "the branch is new",
    "forced": "it was a forced push",
    "no_commits": "the forge lists no commits",
    "too_many_commits": "the forge lists only the first 2,048 commits",
    "truncated": "the forge does not list all of its commits",
    "not_listed": "the forge does not list the files of its commits",
    "too_many_files": "it changed more than 3,000 files, or their names are too long together",
}
"""Why the files of a push are not known. The keys are those of `shared.forges.changed_files.Unknown`."""


@dataclass(slots=True)
class FileSteps:
    """The steps that may still be used to compare files of one event for one owner."""

    left: int = FILE_STEPS

    def take(self, steps: int) -> bool:
        self.left -= steps
        return self.left >= 0


class PathAnswer(NamedTuple):
    """The answer of a path filter. `code` and `text` are the reason for people and programs."""

    is_filtered: bool
    code: str
    text: str


def filter_of(event: Event, pipeline: Pipeline) -> PathFilter | None:
    """Returns the filter that applies to the event. Tags have none."""
    match event.kind:
        case EventKind.PUSH:
            return (pipeline.on.push or PushTrigger()).paths
        case EventKind.PULL_REQUEST:
            return (pipeline.on.pull_request or PullRequestTrigger()).paths
        case _:
            return None


def compare(event: Event, paths: PathFilter, steps: FileSteps) -> PathAnswer:
    """Compares the changed files with the filter. Linear in the files, and bounded by `steps`."""
    if event.kind is EventKind.PULL_REQUEST:
        return _counts_as_matched("the changed files of pull requests are not known")
    if event.changed_files is None:
        why = _UNKNOWN.get(event.files_unknown or "", "an earlier release stored the event")
        return _counts_as_matched(f"the changed files are not known: {why}")
    for name in event.changed_files:
        if not steps.take(_steps(paths, name)):
            return _counts_as_matched(
                f"comparing the changed files takes more than {FILE_STEPS:,} steps for the pipelines of this "
                "owner; shorten or merge globs"
            )
        if counts(paths, name):
            return PathAnswer(False, "path", f"File {shown(name)} matches {_described(paths)}.")
    return PathAnswer(True, "paths", _excluded(event.changed_files, paths))


def counts(paths: PathFilter, name: str) -> bool:
    """Returns True if this file starts the pipeline."""
    return (not paths.include or matches(paths.include, name)) and not matches(paths.exclude, name)


def _steps(paths: PathFilter, name: str) -> int:
    return steps_to_compare(paths.include, name) + steps_to_compare(paths.exclude, name)


def _counts_as_matched(why: str) -> PathAnswer:
    return PathAnswer(False, "paths_unknown", f"The path filter counts as matched: {why}.")


def _excluded(files: Sequence[str], paths: PathFilter) -> str:
    if not files:
        return f"The push changed no file, and the pipeline runs for {_described(paths)} only."
    more = len(files) - _FILES_SHOWN
    names = ", ".join(map(shown, files[:_FILES_SHOWN])) + (f" and {more:,} more" if more > 0 else "")
    noun = "file that changed does" if len(files) == 1 else f"{len(files):,} files that changed"
    subject = f"The {noun} not match" if len(files) == 1 else f"None of the {noun} matches"
    return f"{subject} {_described(paths)}: {names}."


def _described(paths: PathFilter) -> str:
    """Returns the filter for people."""
    included = listed(paths.include) if paths.include else "all files"
    return included + (f" without {listed(paths.exclude)}" if paths.exclude else "")
