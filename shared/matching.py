"""Trigger matching: decides whether an event starts a pipeline, and gives the reasons.

Each reason has a code for programs and a sentence for people. Objections are checked in a fixed order; the
first one is the reason.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from shared.events import Event, EventKind
from shared.path_filters import FileSteps, PathAnswer, compare, filter_of
from shared.pipeline.globs import matches, repository_matches, steps_to_compare
from shared.pipeline.model import ForkPolicy, Pipeline, PullRequestTrigger, PushTrigger
from shared.quoting import listed, shown

_SKIP_WORDS = ("[skip ci]", "[ci skip]", "[no ci]", "[skip actions]", "[actions skip]")


class Outcome(StrEnum):
    RUN = "run"
    NOT_MATCHED = "not_matched"
    FILTERED = "filtered"
    SKIPPED = "skipped"
    UNTRUSTED = "untrusted"
    SUPERSEDED = "superseded"
    NOT_ALLOWED = "not_allowed"
    REF_GONE = "ref_gone"


@dataclass(frozen=True, slots=True)
class Why:
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class Decision:
    outcome: Outcome
    reasons: tuple[Why, ...]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """Facts about the repository, the pull request and the pipeline that the event does not have."""

    repository_names: tuple[str, ...]
    """The repository's name in the event and its registered name.

    Both count, so that a renamed repository keeps its pipelines.
    """
    owner_may_use: bool
    """True if the pipeline's owner is a maintainer of the repository, or an administrator."""
    closed_at: datetime | None = None
    """Latest known closing of the pull request, by the forge's clock."""
    enabled: bool = True
    """True if the pipeline is enabled."""
    forks_can_run: bool = True
    """True if the backend may run code from forks."""
    is_replaced: bool = False
    """True if a newer push of the pull request is known. It counts for pull requests from forks."""


class _Ref(NamedTuple):
    """A kind of ref (branch or tag), the name that was pushed, and the pipeline's patterns for this kind."""

    kind: str
    several: str
    name: str | None
    patterns: Sequence[str] | None


def pattern_steps(event: Event, pipeline: Pipeline, repository_names: Sequence[str]) -> int:
    """Returns the number of steps that comparing the pipeline's globs with the event takes.

    They are compared with the repository's names and with the branch, tag or base branch.
    """
    patterns: Sequence[str] | None
    if event.kind is EventKind.PULL_REQUEST:
        name, patterns = event.base_branch, (pipeline.on.pull_request or PullRequestTrigger()).branches
    else:
        _, _, name, patterns = _refs(event, pipeline.on.push or PushTrigger())[0]
    of_repository = sum(steps_to_compare(pipeline.repositories, known) for known in repository_names)
    return of_repository + steps_to_compare(patterns or (), name or "")


class PatternBudget:
    """Limits the steps of glob matching that one event may cost each owner of pipelines.

    Without this limit, one owner's pipelines with thousands of globs would delay the events of all others.
    Steps are counted and not timed, so that the same event and pipelines always get the same decisions.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used: dict[tuple[int, int], int] = {}
        self._file_steps: dict[tuple[int, int], FileSteps] = {}
        text = (
            f"To compare the globs of this owner's pipelines with this event takes more than {limit} steps "
            "(TOWPATH_PATTERN_STEPS), and the older pipelines used them up. Shorten or merge globs."
        )
        self._exceeded = Decision(Outcome.SKIPPED, (Why("too_many_patterns", text),))

    def spend(
        self, key: tuple[int, int], event: Event, pipeline: Pipeline, repository_names: Sequence[str]
    ) -> Decision | None:
        """Adds the steps of this pipeline to those of `key`, which is (event id, owner id).

        Returns the decision to skip the pipeline if the limit is exceeded, otherwise None.
        """
        used = self._used.get(key, 0)
        if used <= self._limit:
            used += pattern_steps(event, pipeline, repository_names)
            self._used[key] = used
        return self._exceeded if used > self._limit else None

    def file_steps(self, key: tuple[int, int]) -> FileSteps:
        """Returns the steps that are left to compare the event's files for this owner."""
        return self._file_steps.setdefault(key, FileSteps())


def decide(
    event: Event, pipeline: Pipeline, circumstances: Circumstances, file_steps: FileSteps | None = None
) -> Decision:
    """Returns the decision for one event and one pipeline.

    `file_steps` bounds the comparison of files over several pipelines. Files are compared last, so only the
    path filter keeps a filtered pipeline from running.
    """
    for outcome, why in _objections(event, pipeline, circumstances):
        if why is not None:
            return Decision(outcome, (why,))
    reasons = [_why_it_runs(event, pipeline), *_fork(event, pipeline)]
    if (answer := _paths(event, pipeline, file_steps or FileSteps())) is not None:
        why = Why(answer.code, answer.text)
        if answer.is_filtered:
            return Decision(Outcome.FILTERED, (why,))
        reasons.append(why)
    return Decision(Outcome.RUN, tuple(reasons))


def _paths(event: Event, pipeline: Pipeline, steps: FileSteps) -> PathAnswer | None:
    paths = filter_of(event, pipeline)
    return None if paths is None else compare(event, paths, steps)


def _objections(
    event: Event, pipeline: Pipeline, circumstances: Circumstances
) -> Iterator[tuple[Outcome, Why | None]]:
    yield Outcome.NOT_MATCHED, _repository(pipeline, circumstances.repository_names)
    yield Outcome.SKIPPED, None if circumstances.enabled else Why("disabled", "The pipeline is disabled.")
    yield Outcome.NOT_ALLOWED, _owner(circumstances)
    yield Outcome.SKIPPED, _deletion(event)
    yield Outcome.NOT_MATCHED, _trigger(event, pipeline)
    yield Outcome.SKIPPED, _skip_words(event)
    yield Outcome.UNTRUSTED, _trust(event, pipeline, circumstances)
    yield Outcome.SUPERSEDED, _closed_before(event, circumstances.closed_at)
    yield Outcome.SUPERSEDED, _replaced(event, pipeline, circumstances)


def _repository(pipeline: Pipeline, names: Sequence[str]) -> Why | None:
    if any(repository_matches(pipeline.repositories, name) for name in names):
        return None
    return Why("repository", f"Repository {shown(names[0])} matches none of {listed(pipeline.repositories)}.")


def _owner(circumstances: Circumstances) -> Why | None:
    if circumstances.owner_may_use:
        return None
    return Why(
        "owner_not_maintainer",
        f"The pipeline's owner is not a maintainer of {shown(circumstances.repository_names[0])}.",
    )


def _deletion(event: Event) -> Why | None:
    if not event.deleted:
        return None
    what = f"branch {shown(event.branch)}" if event.branch else f"tag {shown(event.tag or '')}"
    return Why("deleted", f"The push deleted {what}: nothing is left to build.")


def _trigger(event: Event, pipeline: Pipeline) -> Why | None:
    match event.kind:
        case EventKind.PUSH | EventKind.TAG:
            return _push(event, pipeline)
        case EventKind.PULL_REQUEST:
            return _pull_request(event, pipeline)
        case EventKind.MANUAL:
            return (
                None if pipeline.on.manual is not None else Why("event", "The pipeline has no `on.manual`.")
            )
        case EventKind.SCHEDULE:
            return Why("event", "Schedule events start nothing.")


def _push(event: Event, pipeline: Pipeline) -> Why | None:
    push = pipeline.on.push
    if push is None:
        return Why("event", "The pipeline does not run on pushes.")
    pushed, other = _refs(event, push)
    if pushed.patterns is not None:
        return _unmatched(pushed.kind, pushed.name, pushed.patterns)
    if other.patterns is None:
        return None
    return Why(
        pushed.kind,
        f"The pipeline runs on pushed {other.several} only, and {shown(pushed.name or '')} is a "
        f"{pushed.kind}.",
    )


def _refs(event: Event, push: PushTrigger) -> tuple[_Ref, _Ref]:
    """Returns the ref of the pushed kind, then the one of the other kind."""
    branch = _Ref("branch", "branches", event.branch, push.branches)
    tag = _Ref("tag", "tags", event.tag, push.tags)
    return (tag, branch) if event.kind is EventKind.TAG else (branch, tag)


def _pull_request(event: Event, pipeline: Pipeline) -> Why | None:
    trigger = pipeline.on.pull_request
    if trigger is None:
        return Why("event", "The pipeline does not run on pull requests.")
    if event.action not in trigger.types:
        return Why(
            "type",
            f"The pull request was {shown(event.action or '')}; the pipeline runs for "
            f"{listed(trigger.types)}.",
        )
    return (
        None if trigger.branches is None else _unmatched("base branch", event.base_branch, trigger.branches)
    )


def _unmatched(what: str, name: str | None, patterns: Sequence[str]) -> Why | None:
    if name is not None and matches(patterns, name):
        return None
    return Why(
        what.replace(" ", "_"), f"{what.capitalize()} {shown(name or '')} matches none of {listed(patterns)}."
    )


def _skip_words(event: Event) -> Why | None:
    """Returns an objection if the head commit's message or the pull request's title contains a skip word.

    A tag is never skipped: its commit may have been made long before, and pushing the tag is a decision of
    its own.
    """
    if event.kind is EventKind.TAG:
        return None
    pull_request = event.kind is EventKind.PULL_REQUEST
    text = ((event.title if pull_request else event.message) or "").lower()
    word = next((word for word in _SKIP_WORDS if word in text), None)
    if word is None:
        return None
    return Why(
        "skip_ci",
        f"The {'title of the pull request' if pull_request else 'message of the head commit'} says {word}.",
    )


_FORK = "The head of the pull request is not a branch of the repository itself, so its code is not trusted"


def fork_policy(event: Event, pipeline: Pipeline) -> ForkPolicy | None:
    """Returns what the pipeline does with an event from a fork, or None for a trusted event."""
    return None if event.trusted else (pipeline.on.pull_request or PullRequestTrigger()).forks


def _trust(event: Event, pipeline: Pipeline, circumstances: Circumstances) -> Why | None:
    if event.trusted:
        return None
    if fork_policy(event, pipeline) == "ignore":
        return Why("forks_ignored", f"{_FORK}, and the pipeline ignores pull requests from forks.")
    if circumstances.forks_can_run:
        return None
    return Why(
        "local_cluster",
        f"{_FORK}. The local cluster runs no such code: it can't keep it apart from the machine well enough.",
    )


def _replaced(event: Event, pipeline: Pipeline, circumstances: Circumstances) -> Why | None:
    """Returns an objection if an approval of this event would be void at once."""
    if fork_policy(event, pipeline) != "approve" or not circumstances.is_replaced:
        return None
    return Why("newer_push", "A newer push of the pull request is known: only the newest can be approved.")


def _fork(event: Event, pipeline: Pipeline) -> tuple[Why, ...]:
    """Returns what is to be known about a run of a fork."""
    match fork_policy(event, pipeline):
        case None:
            return ()
        case "approve":
            text = "The run waits until a maintainer of the repository approves it, and gets no secrets."
            return (Why("fork_approval", f"{_FORK}. {text}"),)
        case _:
            return (Why("fork_run", f"{_FORK}. The run gets no secrets."),)


def _closed_before(event: Event, closed_at: datetime | None) -> Why | None:
    """Returns an objection if the pull request was closed after this event.

    Deliveries arrive out of order. A closed pull request is not updated, so an event that is no newer than
    the closing happened before it. The forge's clock has a resolution of one second: within the same second,
    only `reopened` may have followed the closing.
    """
    if (
        closed_at is None
        or event.happened_at is None
        or event.action not in {"opened", "synchronize", "reopened"}
    ):
        return None
    if event.happened_at > closed_at or (event.happened_at == closed_at and event.action == "reopened"):
        return None
    return Why("closed", f"The pull request was closed afterwards, at {closed_at:%Y-%m-%dT%H:%M:%SZ}.")


def _why_it_runs(event: Event, pipeline: Pipeline) -> Why:
    if event.kind is EventKind.MANUAL:
        return Why("started", "A user started it.")
    on = pipeline.on
    patterns: Sequence[str] | None
    if event.kind is EventKind.PULL_REQUEST:
        what, name, patterns = (
            "base branch",
            event.base_branch,
            (on.pull_request or PullRequestTrigger()).branches,
        )
    else:
        what, _, name, patterns = _refs(event, on.push or PushTrigger())[0]
    if patterns is None:
        return Why("matched", f"The pipeline runs for every {what}.")
    return Why("matched", f"{what.capitalize()} {shown(name or '')} matches {listed(patterns)}.")
