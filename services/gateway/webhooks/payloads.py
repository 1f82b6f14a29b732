"""Reads the repository from a verified body. The gateway reads nothing else from a body.

This is done only for a request under a repository's own hook key, to refuse a body that names another
repository.
"""

from typing import Any

import orjson

from services.gateway.webhooks.hook_secrets import Hook
from shared import forms


def payload_bytes(body: bytes, content_type: str) -> int:
    """Return the size of a body in bytes, or of the payload if the body is a form."""
    if content_type != forms.CONTENT_TYPE:
        return len(body)
    try:
        return len(forms.payload(body))
    except ValueError:
        return len(body)


def speaks_for_another(body: bytes, content_type: str, hook: Hook) -> bool:
    """Return True if the body names a repository other than the hook's.

    Repositories are compared by the forge's id if it is known, otherwise by full name. A body that names no
    repository or cannot be parsed returns False. It is stored, and no event follows from it.
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
