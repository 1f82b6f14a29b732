"""Tests of the capabilities that an executor needs as root in a container.

With those of the compose file jobs run. Without any one of them the executor refuses to start.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contracts.clusters import AS_ROOT

ROOT = Path(__file__).parents[2]
CAPABILITIES: list[str] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["executor"][
    "cap_add"
]
CHOOSING = """
import asyncio, json, sys
from pathlib import Path
from services.executor.local.sandbox import Sandbox, SandboxUnusable, User, choose
try:
    asyncio.run(choose("none", Sandbox(User(65530, 65530), User(65531, 65531)), Path(sys.argv[1])))
    print(json.dumps({"refused": None}))
except SandboxUnusable as error:
    print(json.dumps({"refused": str(error)}))
"""

pytestmark = [
    pytest.mark.skipif(not AS_ROOT, reason="only root has capabilities to give up"),
    pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) is not installed"),
]


def choose_with(capabilities: list[str], folder: Path) -> Any:
    """Start an executor with these capabilities. Return its error, or None if it starts."""
    kept = ",".join(["-all", *(f"+{name.lower()}" for name in capabilities)])
    argv = [
        "setpriv",
        f"--bounding-set={kept}",
        "--no-new-privs",
        sys.executable,
        "-c",
        CHOOSING,
        str(folder),
    ]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])["refused"]


def test_the_capabilities_of_the_compose_file_are_enough(folder: Path) -> None:
    assert choose_with(CAPABILITIES, folder) is None
    assert sorted(path.name for path in folder.iterdir()) == ["group", "passwd"]  # no probe is left


@pytest.mark.parametrize("missing", CAPABILITIES)
def test_without_any_of_them_the_executor_does_not_start_and_names_what_it_needs(
    folder: Path, missing: str
) -> None:
    refused = choose_with([name for name in CAPABILITIES if name != missing], folder)
    assert refused is not None
    assert missing in refused
