"""What each forge's deliveries say, one module a forge.

Pure: raw bytes in, a Reading out, Malformed the only error.
"""

from collections.abc import Callable, Mapping

from services.scheduler.forges import gitea, github
from services.scheduler.forges.reading import ForgeRepository, Malformed, Reading

__all__ = ["ForgeRepository", "Malformed", "Reading", "normalise"]

Normaliser = Callable[[str, Mapping[str, str], bytes], Reading]

_NORMALISERS: dict[str, Normaliser] = {"github": github.normalise, "gitea": gitea.normalise}


def normalise(source: str, event_type: str, headers: Mapping[str, str], body: bytes) -> Reading:
    """What a delivery says. `headers` have lower-case names, `body` is as it was signed.

    Raises Malformed when the body can't be read as what the event type promises.
    """
    return _NORMALISERS[source](event_type, headers, body)
