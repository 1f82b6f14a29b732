"""Renders templates. All values are escaped, so that names, titles and logs are text everywhere."""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.gateway.web import sentences

_WEB = Path(__file__).parent
_STATIC = _WEB / "static"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


def _read(path: Path) -> tuple[bytes, str]:
    return path.read_bytes(), _TYPES[path.suffix]


ASSETS = {path.name: _read(path) for path in sorted(_STATIC.iterdir()) if path.suffix in _TYPES}
"""Content and type of each file that pages load, by name."""

_VERSIONS = {name: hashlib.sha256(content).hexdigest()[:12] for name, (content, _) in ASSETS.items()}


def asset_url(name: str) -> str:
    """Return the URL of a static file. It changes with the content, so browsers may keep the file."""
    return f"/ui/assets/{name}?v={_VERSIONS[name]}"


def moment(text: str | None) -> datetime | None:
    """Parse an instant of the API."""
    return None if text is None else datetime.fromisoformat(text)


def seconds_between(start: str | None, end: str | None) -> float | None:
    """Return the seconds between two instants of the API; up to now if `end` is None."""
    begun = moment(start)
    if begun is None:
        return None
    return max(0.0, ((moment(end) or datetime.now(UTC)) - begun).total_seconds())


def duration(seconds: float | None) -> str:
    """Format a duration: 0.4 s, 12 s, 3 min 5 s, 2 h 10 min."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def ago(text: str | None, now: datetime | None = None) -> str:
    """Format an instant relative to now: 5 minutes ago. Scripts keep it current."""
    at = moment(text)
    if at is None:
        return ""
    passed = (now or datetime.now(UTC)) - at
    if passed < timedelta(seconds=45):
        return "just now"
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        count = round(passed.total_seconds() / length)
        if count >= 1 or unit == "minute":
            return f"{max(count, 1)} {unit}{'' if max(count, 1) == 1 else 's'} ago"
    return ""


def exactly(text: str | None) -> str:
    """Format an instant in UTC to the second."""
    at = moment(text)
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def job_path(run_id: int, key: str, **query: Any) -> str:
    """Return the path of the log page of a job."""
    given = {name: value for name, value in query.items() if value is not None}
    return f"/ui/runs/{run_id}/jobs/{quote(key, safe='')}" + (f"?{urlencode(given)}" if given else "")


NAVIGATION = (("/ui/", "Pipelines"), ("/ui/runs", "Runs"))


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(_WEB / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"ago": ago, "exactly": exactly, "duration": duration}
    made.globals |= {
        "asset": asset_url,
        "job_path": job_path,
        "took": seconds_between,
        "said": sentences,
        "navigation": NAVIGATION,
    }
    return made


_templates = _environment()


def render(template: str, **values: Any) -> str:
    return _templates.get_template(template).render(**values)
