"""The expected outcome of every push and pull request among GitHub's examples, with the reason.

Each row stands alone: the example is the first delivery of a repository `Codertocat/Hello-World`, whose only
pipeline is PIPELINE.
"""

from dataclasses import dataclass, field

REPOSITORY = "Codertocat/Hello-World"
FORGE_ID = 186853002

PIPELINE = """
version: 1
repository: Codertocat/Hello-World
on: { push: {}, pull_request: {} }
jobs:
  build: { checkout: false, steps: [{ run: echo hi }] }
"""

HEAD = "6113728f27ae82c7b1a177c8d03f9e96e0adf246"
TOPIC = "ec26c3e57ca3a959ca5aad62de7213c562f8c821"


@dataclass(frozen=True)
class Expectation:
    """One example's fate."""

    name: str
    outcome: str
    """The outcome of the delivery: event or ignored."""
    why: str
    decision: str | None = None
    """The decision about the pipeline. None if there is no event."""
    code: str | None = None
    """The code of the decision's reason."""
    fields: dict[str, object] = field(default_factory=dict)
    """Further fields of the event."""

    @property
    def event_type(self) -> str:
        return self.name.rpartition("-")[0]


def _tag_deleted(index: int) -> Expectation:
    fields: dict[str, object] = {
        "kind": "tag",
        "tag": "simple-tag",
        "branch": None,
        "sha": None,
        "before_sha": HEAD,
        "deleted": True,
        "message": None,
    }
    return Expectation(
        f"push-{index}",
        "event",
        "A deleted ref leaves nothing to build.",
        "skipped",
        "deleted",
        fields,
    )


def _branch_created(index: int) -> Expectation:
    fields: dict[str, object] = {
        "kind": "push",
        "branch": "master",
        "tag": None,
        "sha": HEAD,
        "before_sha": None,
        "deleted": False,
        "message": "Initial commit",
    }
    return Expectation(
        f"push-{index}",
        "event",
        "The first push of a branch: there is no commit before it.",
        "run",
        "matched",
        fields,
    )


def _pull_request(index: int, action: str, why: str) -> Expectation:
    fields = {
        "kind": "pull_request",
        "action": action,
        "pull_request": 2,
        "branch": "changes",
        "base_branch": "master",
        "sha": TOPIC,
        "trusted": True,
    }
    return Expectation(f"pull_request-{index}", "event", why, "run", "matched", fields)


def _closed(index: int) -> Expectation:
    fields = {"kind": "pull_request", "action": "closed", "pull_request": 2, "sha": TOPIC, "trusted": True}
    why = (
        "`closed` is not among the types a pipeline runs for unless it says so; it ends the runs that have "
        "not started."
    )
    return Expectation(f"pull_request-{index}", "event", why, "not_matched", "type", fields)


def _ignored(index: int, action: str) -> Expectation:
    return Expectation(f"pull_request-{index}", "ignored", f"`{action}` changes nothing that could be built.")


EXPECTATIONS: tuple[Expectation, ...] = (
    Expectation(
        "push-0",
        "event",
        "A new tag. It is matched as a tag alone, though its commit has a branch too.",
        "run",
        "matched",
        {
            "kind": "tag",
            "tag": "simple-tag",
            "branch": None,
            "sha": HEAD,
            "before_sha": None,
            "deleted": False,
            "message": "Adding a .gitignore file",
        },
    ),
    _tag_deleted(1),
    _tag_deleted(2),
    _tag_deleted(3),
    _branch_created(4),
    _branch_created(5),
    _tag_deleted(6),
    _pull_request(0, "opened", "A new pull request from a branch of the repository itself."),
    _ignored(1, "assigned"),
    _ignored(2, "assigned"),
    _closed(3),
    _closed(4),
    _ignored(5, "converted_to_draft"),
    _ignored(6, "converted_to_draft"),
    _ignored(7, "converted_to_draft"),
    _ignored(8, "labeled"),
    _ignored(9, "labeled"),
    _ignored(10, "locked"),
    _ignored(11, "locked"),
    _pull_request(12, "opened", "The same, seen through a GitHub App's hook."),
    _pull_request(13, "opened", "The same, seen through a GitHub App's hook."),
    _pull_request(14, "opened", "The same in an organisation, through a GitHub App's hook."),
    _ignored(15, "ready_for_review"),
    _ignored(16, "ready_for_review"),
    _ignored(17, "ready_for_review"),
    _pull_request(
        18, "reopened", "An open pull request again: what was not built while it was closed is built."
    ),
    _pull_request(19, "reopened", "The same in an organisation."),
    _ignored(20, "review_request_removed"),
    _ignored(21, "review_requested"),
    _pull_request(22, "synchronize", "New commits on the pull request's branch."),
    _ignored(23, "unassigned"),
    _ignored(24, "unassigned"),
    _ignored(25, "unlabeled"),
    _ignored(26, "unlabeled"),
    _ignored(27, "unlocked"),
    _ignored(28, "unlocked"),
)
