"""Tests of the user name of a job in a container whose image was not prepared."""

from pathlib import Path

import pytest

from shared.pipeline.model import Step
from tests.unit.services.executor.driving import SHELLS, run_alone


def as_a_stranger(folder: Path, shell: list[str], *, writable: bool) -> list[str]:
    """Return a shell command for a container whose image has no entry for the user's uid."""
    passwd = folder / "passwd"
    passwd.write_text("root:x:0:0:root:/root:/bin/sh\n")
    seen = ["--dev-bind", "/", "/", "--bind" if writable else "--ro-bind", str(passwd), "/etc/passwd"]
    return ["bwrap", "--unshare-user", "--uid", "12345", "--gid", "12345", *seen, *shell]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
@pytest.mark.parametrize("writable", [True, False])
def test_a10_a_user_whom_the_image_does_not_know_has_a_name(
    tmp_path: Path, shell: list[str], writable: bool
) -> None:
    script = 'echo "$USER $LOGNAME"; whoami 2> /dev/null || echo nobody'
    ran = run_alone(tmp_path, Step(run=script), shell=as_a_stranger(tmp_path, shell, writable=writable))
    assert ran.output.splitlines() == ["towpath towpath", "towpath" if writable else "nobody"]
    entries = (tmp_path / "passwd").read_text().splitlines()[1:]
    assert entries == ([f"towpath:x:12345:12345::{tmp_path}/home:/bin/sh"] if writable else [])


@pytest.mark.parametrize("shell", SHELLS, ids=lambda shell: shell[0])
def test_a10_a_user_whom_the_image_knows_keeps_the_name(tmp_path: Path, shell: list[str]) -> None:
    ran = run_alone(
        tmp_path, Step(run='test "$USER$LOGNAME" = "$(id -un)$(id -un)" && echo same'), shell=shell
    )
    assert ran.output == "same\n"
