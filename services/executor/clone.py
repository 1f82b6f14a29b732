"""The program of the container `clone`: fetches exactly one commit into an attempt's workspace and exits.

    python -m services.executor.clone FILE

FILE is the order as JSON, including credentials; no other container can read it. Git's output goes to stdout.
If the clone fails, one sentence with the reason goes to the termination file, which the kubelet reads. The
program needs no home folder, no user name, and no writable folder except the workspace. If user code has
already started, it changes nothing and fails, because the workspace is then not trusted with credentials. The
pod's start waits for this program, so it imports few modules.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from services.executor.checkout import Checkout, Commit, GaveUp, Sink, make_repository
from services.executor.clone_order import Order

STOPPED_CODE = 143
STARTED_CODE = 97
_CHUNK_BYTES = 64 << 10
_ENDS = (signal.SIGTERM, signal.SIGALRM)


def main() -> int:
    order = Order.decode(Path(sys.argv[1]).read_bytes())
    exit_code, failure = clone(order)
    if failure:
        Path(order.termination).write_text(failure, encoding="utf-8")
    return exit_code


def clone(order: Order) -> tuple[int, str]:
    """Run the clone. Return the exit code and, on failure, a sentence with the reason.

    The sentence is also written to the log.
    """
    if os.path.lexists(order.started):
        return _failed(STARTED_CODE, "The job has begun: its workspace is not cloned a second time.")
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGALRM, _run_out)
    signal.setitimer(signal.ITIMER_REAL, order.seconds)
    checkout = Checkout(order.commit, _Git(order.workspace), _say, Path(order.workspace))
    try:
        _make_workspace(Path(order.workspace), order.commit)
        checkout.run()
    except GaveUp as error:
        if error.timed_out:
            return _failed(1, f"The clone took longer than {order.seconds:g} seconds.")
        return (
            _failed(STOPPED_CODE, "The clone was stopped.")
            if error.stopped
            else (error.exit_code or 1, checkout.complaint)
        )
    except OSError as error:
        return _failed(1, f"The clone can't be made: {error}.")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return 0, ""


def _failed(exit_code: int, failure: str) -> tuple[int, str]:
    _say(f"{failure}\n".encode("utf-8", "replace"))
    return exit_code, failure


class _Git:
    """Runs git in a workspace. If the call is interrupted, all processes of git are killed."""

    def __init__(self, workspace: str) -> None:
        self._workspace = workspace

    def __call__(self, arguments: Sequence[str], variables: Mapping[str, str], sink: Sink) -> int:
        process = self._started(arguments, variables)
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        try:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)
            while chunk := os.read(process.stdout.fileno(), _CHUNK_BYTES):
                sink(chunk)
            exit_code = process.wait()
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        return exit_code if exit_code >= 0 else 128 - exit_code

    def _started(self, arguments: Sequence[str], variables: Mapping[str, str]) -> "subprocess.Popen[bytes]":
        """Start git. Returns with the signals that end this program blocked; the caller unblocks them.

        A signal that ended this program while git starts would leave git running.
        """
        own = {"PATH": os.defpath, "HOME": "/nonexistent", "GIT_CONFIG_GLOBAL": "/dev/null"}
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
        try:
            return subprocess.Popen(  # noqa: S603 - the arguments are git's, checked by their maker
                ("git", *arguments),  # noqa: S607 - where git is, is the image's affair
                cwd=self._workspace,
                env={**variables, **own},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except BaseException:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)
            raise


def _make_workspace(workspace: Path, commit: Commit) -> None:
    """Create the repository, after removing what an earlier try may have left there."""
    if workspace.is_symlink():
        workspace.unlink()
    elif workspace.exists():
        from services.executor.trees import remove_tree  # noqa: PLC0415 - it is hardly ever needed

        remove_tree(workspace)
    make_repository(workspace, commit)


def _stop(*_: object) -> None:
    raise GaveUp(STOPPED_CODE, stopped=True)


def _run_out(*_: object) -> None:
    raise GaveUp(1, timed_out=True)


def _say(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    sys.exit(main())
