"""ETag and If-Match (RFC 9110, 13.1.1). Pure."""


def etag_of(version: int) -> str:
    return f'"{version}"'


def allows(if_match: str | None, version: int) -> bool:
    """Whether a change made under this header may go on.

    Without the header it may; a weak tag never matches.
    """
    if if_match is None:
        return True
    wanted = [part.strip() for part in if_match.split(",")]
    return wanted == ["*"] or etag_of(version) in wanted
