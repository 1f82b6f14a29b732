"""Installs Buildbot into a separate virtual environment, from locked requirements with hashes.

It is installed once, and again after the requirements change.
"""

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench.sending import BenchError

REQUIREMENTS = Path(__file__).with_name("requirements-buildbot.txt")
INSTALL_SECONDS = 180


def buildbot_programs(directory: Path, say: Callable[[str], None]) -> Path:
    """Return the folder of `buildbot`, `buildbot-worker` and `twistd`.

    Raises BenchError if they cannot be installed.
    """
    environment = directory / "buildbot-venv"
    mark = environment / ".complete"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if not mark.exists() or mark.read_text() != wanted:
        say("installing Buildbot into a virtual environment of its own")
        _run(sys.executable, "-m", "venv", "--clear", str(environment))
        pip = [
            str(environment / "bin/python"),
            "-m",
            "pip",
            "--quiet",
            "--disable-pip-version-check",
            "--no-input",
            "install",
        ]
        _run(*pip, "--require-hashes", "--requirement", str(REQUIREMENTS))
        mark.write_text(wanted)
    return environment / "bin"


def _run(*argv: str) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise BenchError(f"{' '.join(argv[:4])} took over {INSTALL_SECONDS} s") from None
    if done.returncode:
        raise BenchError(f"{' '.join(argv[:4])} failed: {(done.stdout + done.stderr)[-800:]}")
