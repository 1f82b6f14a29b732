"""Tests of `towpath repositories`: the requests of a registration and a change, and the source of secrets."""

from pathlib import Path

import pytest

from tests.unit.cli.conftest import Towpath
from tests.unit.cli.fake_api import FakeApi, Told

REPOSITORY = {
    "id": 1, "full_name": "octo/web", "forge": "github", "forge_id": 7, "clone_url": "u", "webhook_url": "w",
    "hook_target_type": "organization", "has_webhook_secret": True, "role": None,
}  # fmt: skip


def test_a_secret_comes_from_a_file(api: FakeApi, towpath: Towpath, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    api.answer("POST", "/repositories", Told(201, {**REPOSITORY, "forge_id": None, "hook_target_type": None}))
    result = towpath(
        "repositories", "add", "octo/web", "--clone-url", "https://x/y.git", "--webhook-secret-file", "secret"
    )
    assert api.asked[0].body["webhook_secret"] == "s3cret"
    assert "s3cret" not in result.out + result.err


@pytest.mark.parametrize(
    ("options", "body"),
    [
        (("--hook", "organization"), {"hook_target_type": "organization"}),
        (("--full-name", "octo/site", "--forge-id", "7"), {"full_name": "octo/site", "forge_id": 7}),
        (
            ("--clone-url", "https://x/y.git", "--no-clone-token"),
            {"clone_url": "https://x/y.git", "clone_token": None},
        ),
        (("--webhook-secret-file", "secret"), {"webhook_secret": "s3cret"}),
        (("--no-webhook-secret",), {"webhook_secret": None}),
    ],
)
def test_a16_a_repository_is_changed_where_an_option_says_so(
    api: FakeApi, towpath: Towpath, tmp_path: Path, options: tuple[str, ...], body: dict[str, object]
) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    api.answer("PATCH", "/repositories/1", Told(200, REPOSITORY))
    result = towpath("repositories", "change", "1", *options)
    assert (result.exit_code, api.asked[-1].body) == (0, body)
    assert "hook that counts  organization" in result.out
    assert "s3cret" not in result.out + result.err


@pytest.mark.parametrize(
    "options", [(), ("--clone-token-file", "secret", "--no-clone-token"), ("--hook", "kitchen")]
)
def test_a_change_of_a_repository_that_says_nothing_or_contradicts_itself_asks_nothing(
    api: FakeApi, towpath: Towpath, tmp_path: Path, options: tuple[str, ...]
) -> None:
    (tmp_path / "secret").write_text("s3cret\n")
    result = towpath("repositories", "change", "1", *options)
    assert (result.exit_code, api.asked) == (2, [])
