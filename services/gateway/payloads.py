"""What a verified body says about its repository; the only look that the gateway takes into one. Pure.

It is taken only under a repository's own hook key, to refuse a body that speaks for another repository.
"""

from typing import Any

import orjson

from services.gateway.hook_secrets import Hook
from shared import forms


def payload_bytes(body: bytes, content_type: str) -> int:
    """The size of a body, or of a form's payload."""
    if content_type != forms.CONTENT_TYPE:
        return len(body)
    try:
        return len(forms.payload(body))
    except ValueError:
        return len(body)


def speaks_for_another(body: bytes, content_type: str, hook: Hook) -> bool:
    """Whether the body names a repository that is not the hook's: by the forge's id where it is known, else
    by full name.

    A body that names none, or cannot be read, speaks for nobody: it is stored, and nothing comes of it.
    """
    repository = _repository(body, content_type)
    if repository is None:
        return False
    if hook.forge_id is not None and isinstance(repository.get("id"), int):
        return bool(repository["id"] != hook.forge_id)
    name = repository.get("full_name")
    return not isinstance(name, str) or name.lower() != hook.full_name.lower()


def _repository(body: bytes, content_type: str) -> dict[str, Any] | None:
    try:
        text = forms.payload(body) if content_type == forms.CONTENT_TYPE else body
        document = orjson.loads(text)
    except ValueError:
        return None
    repository = document.get("repository") if isinstance(document, dict) else None
    return repository if isinstance(repository, dict) else None
