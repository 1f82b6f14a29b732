"""ETag and If-Match (RFC 9110, 13.1.1)."""


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
