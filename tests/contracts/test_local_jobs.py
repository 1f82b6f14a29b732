"""Tests of the parts of the machine that a job of the local cluster can see."""

import os
from dataclasses import replace
from pathlib import Path
from tempfile import NamedTemporaryFile

import pytest

from services.executor.local.backend import LocalBackend
from services.executor.local.sandbox import Sandbox
from tests.contracts.clusters import AS_ROOT, begin, command_lines, files_with, run, said, spec, supervisor_of
from tests.harness.workers import job_uid


async def test_a_jobs_environment_is_clean(
    local_cluster: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOWPATH_DATABASE_URL", "postgresql://secret")
    _, log = await run(
        local_cluster, spec("env | cut -d= -f1 | sort | tr '\\n' ' '; echo; echo $PATH; echo $HOME")
    )
    names, path, home = log.splitlines()
    assert set(names.split()) - {"_", "OLDPWD", "SHLVL"} == {
        "CI",
        "HOME",
        "LANG",
        "LOGNAME",
        "PATH",
        "PWD",
        "SECRET",
        "TOWPATH_ENV",
        "TOWPATH_OUTPUT",
        "TOWPATH_POD",
        "USER",
    }
    assert path.endswith(f":{home}/.local/bin")


async def test_a_job_may_write_where_it_works_and_at_home(local_cluster: LocalBackend) -> None:
    end, log = await run(
        local_cluster,
        spec(
            "echo x > file; echo y > $HOME/file; mkdir -p $HOME/.local/bin; : > /tmp/$$; rm /tmp/$$; cat "
            "file $HOME/file; id -u"
        ),
    )
    assert end.exit_code == 0
    assert log.splitlines() == ["x", "y", str(job_uid()) if AS_ROOT else str(os.getuid())]


async def test_variables_are_in_no_file_and_on_no_command_line(local_cluster: LocalBackend) -> None:
    made = await begin(local_cluster, spec("echo begun; sleep 600"))
    await said(made, "begun")
    assert files_with("hunter2", made) == []
    lines = command_lines(supervisor_of(made))
    assert lines
    assert not any(b"hunter2" in line for line in lines)


async def test_a_sandboxed_job_sees_no_other_pods(
    local_cluster: LocalBackend, sandbox: Sandbox, folder: Path
) -> None:
    if not sandbox.bubblewrap:
        pytest.skip("without a sandbox jobs can read what their user can read")
    other = await local_cluster.create(spec(attempt=2))
    _, log = await run(
        local_cluster,
        spec(
            f"ls {folder}/local/pods; ls {folder}; ls /home /root; ls -d /proc/[0-9]* | wc -l; touch "
            "/usr/x || echo read-only"
        ),
    )
    assert Path(other.log_location).name not in log
    assert "read-only" in log
    assert "local" in log


async def test_user_variables_are_not_the_sandboxs(local_cluster: LocalBackend, folder: Path) -> None:
    """LD_PRELOAD would run code in the program that starts the job, possibly as root."""
    wanted = spec("echo fine")
    end, log = await run(
        local_cluster, replace(wanted, environment={"LD_PRELOAD": "/nowhere.so", "PATH": "/nowhere"})
    )
    assert end.exit_code == 0
    assert log.count("nowhere.so") <= 2  # the step's own programs complain, but nothing before them
    assert log.endswith("fine\n")


async def test_a02_shared_memory_is_the_jobs_own_and_bounded(
    local_cluster: LocalBackend, sandbox: Sandbox
) -> None:
    if not sandbox.bubblewrap:
        pytest.skip("without a sandbox it is the machine's")
    fill = "dd if=/dev/zero of=/dev/shm/big bs=64K count=2048 2> /dev/null"
    script = f"ls /dev/shm; {fill} || stat -c %s /dev/shm/big"
    with NamedTemporaryFile(dir="/dev/shm"):
        _, log = await run(local_cluster, spec(script))
    assert log == f"{sandbox.shm_bytes}\n"


async def test_a03_a_job_can_not_read_its_output_back(local_cluster: LocalBackend) -> None:
    """The driver's markers go through this descriptor."""
    if not AS_ROOT:
        pytest.skip("without a user of its own a job can do what its supervisor can")
    script = "cat < /proc/self/fd/1 || chmod 666 /proc/self/fd/1 || echo neither"
    end, log = await run(local_cluster, spec(script))
    assert (end.exit_code, log.splitlines()[-1]) == (0, "neither")


@pytest.mark.parametrize(
    "script",
    [
        'whoami && test "$(whoami)" = "$USER"',
        'id -un && id -gn && test "$(id -un)" = "$USER"',
        'ssh -G towpath.example > config && grep -q "^user $USER$" config',
        "python3 -c 'import getpass, os; assert getpass.getuser() == os.environ[\"USER\"]'",
        "python3 -c 'import grp, os; print(grp.getgrgid(os.getgid()).gr_name)'",
        (
            "python3 -c 'import os, pwd; assert os.path.samefile(pwd.getpwuid(os.getuid()).pw_dir, "
            'os.environ["HOME"])\''
        ),
        'cd ~ && : > made && test -e "$HOME/made" && eval "cd ~$USER" && test made -ef "$HOME/made"',
        "id -u nobody && id -u root",
    ],
)
async def test_a10_a_jobs_user_is_known(local_cluster: LocalBackend, sandbox: Sandbox, script: str) -> None:
    if not sandbox.bubblewrap:
        pytest.skip("without a sandbox the machine's users count")
    end, log = await run(local_cluster, spec(f"{{ {script}; }} && echo known"))
    assert (end.exit_code, log.splitlines()[-1:]) == (0, ["known"]), log


async def test_a10_a_job_can_not_change_who_users_are(local_cluster: LocalBackend, sandbox: Sandbox) -> None:
    if not sandbox.bubblewrap or not AS_ROOT:
        pytest.skip("without them the machine's users count")
    script = "for file in passwd group; do echo x >> /etc/$file || mv /etc/$file /tmp || echo kept; done"
    end, log = await run(local_cluster, spec(script))
    assert (end.exit_code, log.splitlines()[-1], log.count("kept\n")) == (0, "kept", 2)
