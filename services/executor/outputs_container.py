"""The program of the container `outputs`: prints the outputs of a job's steps when the job has ended.

    python -m services.executor.outputs_container FILE ASKED

FILE is the step driver's file with outputs. The container is a native sidecar, which the kubelet ends after
the job. It first runs the hook that creates the file ASKED, and then sends SIGTERM:

1. This program blocks SIGTERM, so that no signal is lost from here on.
2. If ASKED exists, the signal may have arrived before that, and was lost. Otherwise it waits for the signal.
3. It prints the outputs. `services.executor.kubernetes.outputs` reads them from the log.

The job's start waits for this program's start, so it imports few modules.
"""

import base64
import hashlib
import os
import signal
import sys
from pathlib import Path

from services.executor.step_outputs import Collected, collect

LINE_CHARACTERS = 8192
"""Container runtimes split longer lines."""
END = "end "
"""Begins the last line. The digest of the encoded outputs follows."""


def main() -> int:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    if not os.path.exists(sys.argv[2]):  # noqa: PTH110 - needs no other module
        signal.sigwait({signal.SIGTERM})
    sys.stdout.write(shown(collect(Path(sys.argv[1]))))
    sys.stdout.flush()
    return 0


def shown(collected: Collected) -> str:
    """Return the outputs as lines of a log."""
    data = collected.encode()
    text = base64.b64encode(data).decode()
    lines = [text[start : start + LINE_CHARACTERS] for start in range(0, len(text), LINE_CHARACTERS)]
    return "\n".join([*lines, END + hashlib.sha256(data).hexdigest()]) + "\n"


def read(log: bytes) -> Collected | None:
    """Return the outputs in this log, or None if it is not complete."""
    *lines, end = log.decode("ascii", "replace").splitlines() or [""]
    try:
        data = base64.b64decode("".join(lines), validate=True)
        return Collected.decode(data) if end == END + hashlib.sha256(data).hexdigest() else None
    except (ValueError, KeyError, TypeError):
        return None


if __name__ == "__main__":
    sys.exit(main())
