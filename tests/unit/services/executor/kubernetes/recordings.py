"""Pods recorded from a real cluster (1.36), without the fields that the executor does not read.

They belong to attempt 1 of the installation `abcdefgh`.
"""

from pathlib import Path
from typing import Any

import orjson

from services.executor.kubernetes.objects import PodSeen, pod_seen

FOLDER = Path(__file__).with_name("recorded")
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def recorded(name: str) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads((FOLDER / f"{name}.json").read_bytes())
    return document


def seen(name: str) -> PodSeen:
    found = pod_seen(recorded(name), "abcdefgh")
    assert found is not None
    return found
