"""Tests of the sandbox: the paths that it hides, and the user that it runs as."""

from pathlib import Path

from services.executor.local.sandbox import Sandbox, User, private_folders

JOB = Path("/srv/towpath/pods/tp-abcdefgh-1/job")
WORKSPACE = JOB / "workspace"


def after(arguments: tuple[str, ...], *option: str) -> list[str]:
    """Return the argument after each occurrence of these arguments."""
    size = len(option)
    return [
        arguments[at + size] for at in range(len(arguments) - size) if arguments[at : at + size] == option
    ]


def test_without_bubblewrap_a_job_is_only_another_user() -> None:
    runner = Sandbox(User(1001, 1002), None).job(JOB, WORKSPACE)
    assert (runner.prefix, runner.user, runner.owner) == ((), (1001, 1002), (1001, 1002))


def test_with_bubblewrap_the_change_of_user_comes_inside() -> None:
    runner = Sandbox(User(1001, 1002), None, bubblewrap=True).job(JOB, WORKSPACE)
    assert runner.user is None
    assert "--userspec=+1001:+1002" in runner.prefix
    assert runner.prefix.index("--userspec=+1001:+1002") > runner.prefix.index("--")


def test_a_user_who_is_not_root_needs_no_rights() -> None:
    assert "--cap-add" not in Sandbox(None, None, bubblewrap=True).job(JOB, WORKSPACE).prefix


def test_mounts_lie_over_what_is_hidden() -> None:
    sandbox = Sandbox(
        None, None, mounts=(Path("/home/me/shared"),), hidden=(Path("/srv/towpath"),), bubblewrap=True
    )
    prefix = sandbox.job(JOB, WORKSPACE).prefix
    assert "/srv/towpath" in after(prefix, "--tmpfs")
    assert after(prefix, "--bind") == ["/home/me/shared", str(JOB)]
    assert after(prefix, "--chdir") == [str(WORKSPACE)]
    assert prefix.index("--bind") > max(at for at, text in enumerate(prefix) if text == "--tmpfs")
    assert "/home/me" in after(prefix, "--dir")


def test_a_clone_sees_no_mounts() -> None:
    sandbox = Sandbox(None, User(1, 1), mounts=(Path("/home/me/shared"),), bubblewrap=True)
    assert after(sandbox.clone(WORKSPACE, []).prefix, "--bind") == [str(WORKSPACE)]


def test_a_closed_folder_with_keys_is_hidden_and_an_open_one_keeps_all_but_the_key() -> None:
    pods = Path("/srv")
    assert private_folders(Path("/etc/hostname"), pods) == ((pods,), (Path("/etc/hostname"),))
    assert private_folders(Path("/proc/tty/driver/serial"), pods) == ((Path("/proc/tty/driver"), pods), ())


def test_what_is_hidden_anyway_is_not_hidden_twice() -> None:
    assert private_folders(None, Path("/home")) == ((), ())
