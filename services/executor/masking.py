"""Masks the secrets of an attempt in all text of its verdict, before it is stored. Pure.

The verdict's message, the outputs and the steps' names may have text that user code wrote.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from services.executor.planning import OpenSecret, StoredSecret
from services.executor.store import Judged
from services.executor.verdict import Verdict
from shared.crypto import DecryptionFailed
from shared.masking import MASK, Masker

MASKED = "Text of the job had a secret, which was replaced by ***: outputs, or the message of the result."
"""The warning of an attempt whose stored text was masked."""


def masked(judged: Judged, secrets: Sequence[StoredSecret], open_secret: OpenSecret) -> Judged:
    """Return the verdict without any form of these secrets, with a warning if there was one.

    If a secret cannot be decrypted, no text of the attempt can be shown.
    """
    if not secrets:
        return judged
    try:
        mask = _mask(Masker(open_secret(one.encrypted, one.version_id).encode() for one in secrets))
    except DecryptionFailed:
        mask = _hide
    verdict = _with_texts(judged.verdict, mask)
    return judged if verdict == judged.verdict else replace(judged, verdict=verdict, warning=MASKED)


def _mask(masker: Masker) -> Callable[[str], str]:
    return lambda text: masker.mask(text.encode("utf-8", "replace")).decode("utf-8", "replace")


def _hide(_: str) -> str:
    return MASK.decode()


def _with_texts(verdict: Verdict, mask: Callable[[str], str]) -> Verdict:
    return replace(
        verdict,
        message=None if verdict.message is None else mask(verdict.message),
        steps=tuple(replace(fact, name=mask(fact.name)) for fact in verdict.steps),
        outputs={
            step: {name: mask(value) for name, value in outputs.items()}
            for step, outputs in verdict.outputs.items()
        },
    )
