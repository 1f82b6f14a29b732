"""Normalisation of the forges' deliveries, one module a forge.

The input is the raw headers and body, the result is a `Reading`, and the only error is `Malformed`.
"""

from collections.abc import Callable, Mapping

from shared.forges import gitea, github
from shared.forges.reading import ForgeRepository, Malformed, Reading

__all__ = ["ForgeRepository", "Malformed", "Reading", "normalise"]

Normaliser = Callable[[str, Mapping[str, str], bytes], Reading]

_NORMALISERS: dict[str, Normaliser] = {"github": github.normalise, "gitea": gitea.normalise}


def normalise(source: str, event_type: str, headers: Mapping[str, str], body: bytes) -> Reading:
    """Reads a delivery. `headers` have lower-case names; `body` is the body as it was signed.

    Raises Malformed if the body does not have the form that the event type requires.
    """
    return _NORMALISERS[source](event_type, headers, body)
