"""Real webhook bodies: GitHub's own examples, from the npm package @octokit/webhooks-examples, fetched once
where they are missing.
"""

import functools
import json
import subprocess
from pathlib import Path
from typing import Any

from filelock import FileLock

HERE = Path(__file__).parent
_INDEX = HERE / "node_modules" / "@octokit" / "webhooks-examples" / "api.github.com" / "index.json"


@functools.cache
def _all_examples() -> dict[str, list[dict[str, Any]]]:
    with FileLock(HERE / ".fetching"):  # workers begin together
        if not _INDEX.exists():
            subprocess.run(
                ["npm", "ci", "--no-audit", "--no-fund"],
                cwd=HERE,
                check=True,
                capture_output=True,
                timeout=100,
            )
    return {event["name"]: event["examples"] for event in json.loads(_INDEX.read_text(encoding="utf-8"))}


def events() -> list[str]:
    """Every kind of event that there are examples of."""
    return sorted(_all_examples())


def examples(event: str) -> list[tuple[str, dict[str, Any]]]:
    """(name, body) of every example of an event, in the package's order; the name is `push-0`."""
    return [(f"{event}-{index}", body) for index, body in enumerate(_all_examples()[event])]
