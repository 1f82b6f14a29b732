"""ETag, If-Match and If-None-Match (RFC 9110, 13.1)."""


def etag_of(version: int) -> str:
    return f'"{version}"'


def allows(if_match: str | None, version: int) -> bool:
    """Return True if a request with this If-Match header may change an object of this version.

    A request without the header may. A weak tag never matches.
    """
    if if_match is None:
        return True
    wanted = [part.strip() for part in if_match.split(",")]
    return wanted == ["*"] or etag_of(version) in wanted


def has_current(if_none_match: str | None, etag: str) -> bool:
    """Return True if a client with this If-None-Match header already has the version with this ETag.

    A weak tag counts as its strong form.
    """
    if if_none_match is None:
        return False
    known = [part.strip().removeprefix("W/") for part in if_none_match.split(",")]
    return known == ["*"] or etag in known
