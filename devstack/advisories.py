"""Known vulnerabilities of the locked packages, from the first source that answers.

The first source is PyPI's JSON API at pip's index: its answer for a version has a list `vulnerabilities`. If
it does not answer, pip-audit queries another database, if it is installed. A missing answer never counts as
"no known vulnerability".
"""

import base64
import http.client
import json
import shutil
import ssl
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ValidationError

from devstack.locked import Package

_SECONDS = 20
_BYTES = 64 << 20
_STRANGERS = 3
"""If a source does not know any of the first packages, it has no advisories and is not asked further."""


class NoAnswer(Exception):
    """The reason why a source could not be used, for people."""


@dataclass(frozen=True)
class Advisory:
    ids: tuple[str, ...]
    """All names of one vulnerability, sorted."""
    fixed_in: tuple[str, ...]
    summary: str


@dataclass(frozen=True)
class Findings:
    source: str
    found: dict[Package, list[Advisory]] = field(default_factory=dict)
    unknown: list[Package] = field(default_factory=list)
    """Packages that the source does not know."""


class _Vulnerability(BaseModel):
    id: str
    aliases: list[str] = []
    fixed_in: list[str] = []
    summary: str | None = None
    details: str | None = None
    withdrawn: str | None = None


class _Release(BaseModel):
    """The part of PyPI's answer that is used. The answer has many more fields."""

    vulnerabilities: list[_Vulnerability]


class _Audited(BaseModel):
    """A package in pip-audit's report, which has other names for the same fields."""

    name: str
    version: str | None = None
    skip_reason: str | None = None
    vulns: list["_AuditedVulnerability"] = []


class _AuditedVulnerability(BaseModel):
    id: str
    aliases: list[str] = []
    fix_versions: list[str] = []
    description: str | None = None


class _AuditReport(BaseModel):
    dependencies: list[_Audited]


@dataclass(frozen=True)
class Index:
    """The address of PyPI's JSON API, such as `https://pypi.example/pypi`, and certificates for it."""

    url: str
    certificates: str | None = None

    @property
    def shown(self) -> str:
        """The address without user and password."""
        parts = urllib.parse.urlsplit(self.url)
        return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))

    def get(self, path: str) -> bytes | None:
        """Return the body of an answer, or None for 404. Raises NoAnswer."""
        parts = urllib.parse.urlsplit(self.url)
        if parts.scheme not in ("http", "https"):
            raise NoAnswer(f"{self.shown} is no web address")
        request = urllib.request.Request(f"{self.shown}/{path}")  # noqa: S310 - the scheme is checked above
        if parts.username:
            words = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            request.add_unredirected_header(
                "Authorization", f"Basic {base64.b64encode(words.encode()).decode()}"
            )
        try:
            context = (
                ssl.create_default_context(cafile=self.certificates) if parts.scheme == "https" else None
            )
            reply = urllib.request.urlopen(request, None, _SECONDS, context=context)  # noqa: S310 - HTTP only
            with reply as answer:
                body: bytes = answer.read(_BYTES)
                return body
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise NoAnswer(f"{self.shown} answers {error.code}") from error
        except (OSError, http.client.HTTPException) as error:
            raise NoAnswer(f"{self.shown} does not answer: {error}") from error


def ask_index(index: Index, packages: Sequence[Package]) -> Findings:
    """Query the index for each package. Raises NoAnswer at the first answer that cannot be used."""
    findings = Findings(f"PyPI's JSON API at {index.shown}")
    for number, package in enumerate(packages, 1):
        body = index.get(f"{package.name}/{urllib.parse.quote(package.version)}/json")
        if body is None:
            findings.unknown.append(package)
        else:
            try:
                listed = _Release.model_validate_json(body).vulnerabilities
            except ValidationError as error:
                raise NoAnswer(f"{index.shown} has no list of vulnerabilities for {package.name}") from error
            if advisories := merged([_advisory(each) for each in listed if not each.withdrawn]):
                findings.found[package] = advisories
        if len(findings.unknown) == number == min(_STRANGERS, len(packages)):
            raise NoAnswer(f"{index.shown} knows none of {', '.join(each.name for each in findings.unknown)}")
    return findings


def ask_pip_audit(files: Sequence[Path], packages: Sequence[Package]) -> Findings:
    """Query pip-audit's database.

    Raises NoAnswer if pip-audit is not installed or its database does not answer.
    """
    beside = Path(sys.executable).with_name("pip-audit")
    program = str(beside) if beside.exists() else shutil.which("pip-audit")
    if program is None:
        raise NoAnswer("pip-audit is not installed")
    options = [
        "--disable-pip",
        "--vulnerability-service",
        "osv",
        "--format",
        "json",
        "--progress-spinner",
        "off",
    ]
    requirements = [word for file in files for word in ("--requirement", str(file))]
    done = subprocess.run([program, *options, *requirements], capture_output=True, text=True, check=False)
    try:
        report = _AuditReport.model_validate(json.loads(done.stdout))
    except ValueError as error:
        last = done.stderr.strip().rpartition("\n")[2]
        raise NoAnswer(
            f"pip-audit could not ask its database: {last or f'it ended with {done.returncode}'}"
        ) from error
    return _from_report(report, packages)


def _from_report(report: _AuditReport, packages: Sequence[Package]) -> Findings:
    audited = {
        (each.name.lower(), each.version): each for each in report.dependencies if each.skip_reason is None
    }
    findings = Findings("pip-audit's database (OSV)")
    for package in packages:
        each = audited.get((package.name, package.version))
        if each is None:
            findings.unknown.append(package)
        elif each.vulns:
            known = [
                Advisory(_ids(v.id, v.aliases), tuple(v.fix_versions), _short(v.description))
                for v in each.vulns
            ]
            findings.found[package] = merged(known)
    return findings


def merged(advisories: Sequence[Advisory]) -> list[Advisory]:
    """Return one entry for each vulnerability. Databases list one under several names with aliases."""
    result: list[Advisory] = []
    for advisory in advisories:
        same = [known for known in result if set(known.ids) & set(advisory.ids)]
        result = [known for known in result if known not in same]
        parts = [*same, advisory]
        ids = {name for part in parts for name in part.ids}
        fixed = dict.fromkeys(version for part in parts for version in part.fixed_in)
        result.append(
            Advisory(tuple(sorted(ids)), tuple(fixed), next((p.summary for p in parts if p.summary), ""))
        )
    return result


def _advisory(listed: _Vulnerability) -> Advisory:
    return Advisory(
        _ids(listed.id, listed.aliases), tuple(listed.fixed_in), _short(listed.summary or listed.details)
    )


def _ids(name: str, aliases: Sequence[str]) -> tuple[str, ...]:
    return tuple(sorted({name, *aliases}))


def _short(text: str | None) -> str:
    line = (text or "").strip().partition("\n")[0]
    return line if len(line) <= 100 else f"{line[:99]}…"
