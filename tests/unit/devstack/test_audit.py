"""Tests of `make audit`: its requests, and its report with or without answers."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from devstack.advisories import Advisory, Findings, Index, NoAnswer, ask_index, ask_pip_audit, merged
from devstack.audit import CLEAN, NOT_AUDITED, VULNERABLE, audit, index_of, report, write_bill
from devstack.errors import DevstackError
from devstack.locked import Package, lock_files, locked
from devstack.sbom import debian_packages
from devstack.settings import DevstackSettings

CHECKOUT = Path(__file__).parents[3]
JINJA, AIOHTTP, WHEEL = Package("jinja2", "2.11.2"), Package("aiohttp", "3.14.5"), Package("wheel", "0.46.0")


def listed(
    name: str, *aliases: str, fixed_in: list[str] | None = None, withdrawn: str | None = None
) -> dict[str, Any]:
    """Return an entry of PyPI's list, with all of its fields."""
    return {
        "aliases": list(aliases),
        "details": "A regular expression takes very long.\n\nMore about it.",
        "fixed_in": fixed_in or [],
        "id": name,
        "link": f"https://osv.dev/vulnerability/{name}",
        "source": "osv",
        "summary": None,
        "withdrawn": withdrawn,
    }


def release(package: Package, *vulnerabilities: dict[str, Any]) -> dict[str, Any]:
    """Return PyPI's answer for a version, with the fields that it has besides the list."""
    info = {"name": package.name, "version": package.version, "yanked": False, "yanked_reason": None}
    return {"info": info, "last_serial": 9471274, "urls": [], "vulnerabilities": list(vulnerabilities)}


@dataclass
class Pypi:
    """A fake of PyPI's JSON API on this machine."""

    url: str
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    credentials: set[str | None] = field(default_factory=set)

    def knows(self, package: Package, *vulnerabilities: dict[str, Any]) -> None:
        self.answers_with(package, 200, json.dumps(release(package, *vulnerabilities)).encode())

    def answers_with(self, package: Package, status: int, body: bytes) -> None:
        self.answers[f"/pypi/{package.name}/{package.version}/json"] = (status, body)


@pytest.fixture
def pypi() -> Iterator[Pypi]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            served.credentials.add(self.headers["Authorization"])
            status, body = served.answers.get(self.path, (404, b'{"message": "Not Found"}'))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is http.server's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Pypi(f"http://127.0.0.1:{server.server_port}/pypi")
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield served
        server.shutdown()


def said(findings: Findings, packages: list[Package]) -> tuple[int, str]:
    lines: list[str] = []
    code = report(findings, packages, lines.append)
    return code, "\n".join(lines)


def test_x14_a_vulnerability_is_named_once_with_the_version_that_fixes_it(pypi: Pypi) -> None:
    pypi.knows(AIOHTTP)
    pypi.knows(
        JINJA,
        listed("GHSA-g3rq-g295-4j3m", "CVE-2020-28493", fixed_in=["2.11.3"]),
        listed("PYSEC-2021-66", "CVE-2020-28493", "GHSA-g3rq-g295-4j3m", fixed_in=["2.11.3"]),
        listed("GHSA-withdrawn", withdrawn="2023-01-01T00:00:00Z"),
    )
    code, text = said(ask_index(Index(pypi.url), [AIOHTTP, JINJA]), [AIOHTTP, JINJA])
    assert code == VULNERABLE
    ids = "CVE-2020-28493, GHSA-g3rq-g295-4j3m, PYSEC-2021-66"
    assert f"jinja2 2.11.2: {ids} (fixed in 2.11.3) A regular expression takes very long." in text
    assert "2 of 2 packages audited" in text
    assert "1 with known vulnerabilities" in text
    assert "withdrawn" not in text


def test_x14_nothing_known_of_all_packages_is_success(pypi: Pypi) -> None:
    pypi.knows(AIOHTTP)
    code, text = said(ask_index(Index(pypi.url), [AIOHTTP]), [AIOHTTP])
    assert (code, text) == (
        CLEAN,
        f"1 of 1 packages audited with PyPI's JSON API at {pypi.url}: no known vulnerability",
    )


def test_x14_a_package_that_the_source_does_not_know_is_not_audited(pypi: Pypi) -> None:
    pypi.knows(AIOHTTP)
    code, text = said(ask_index(Index(pypi.url), [AIOHTTP, WHEEL]), [AIOHTTP, WHEEL])
    assert code == NOT_AUDITED
    assert "could not be audited:" in text
    assert "says nothing of wheel 0.46.0" in text
    assert "1 of 2 packages audited" in text


def test_x14_a_source_that_knows_no_package_is_none_and_is_not_asked_for_all(pypi: Pypi) -> None:
    with pytest.raises(NoAnswer, match="knows none of p0, p1, p2"):
        ask_index(Index(pypi.url), [Package(f"p{number}", "1") for number in range(100)])
    assert len(pypi.asked) == 3


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, b""),
        (403, b"{}"),
        (200, b"<html>sign in</html>"),
        (200, b"{}"),
        (200, b'{"info": {}, "urls": []}'),
        (200, b'{"vulnerabilities": null}'),
    ],
    ids=["unavailable", "forbidden", "no JSON", "empty", "without a list", "null"],
)
def test_x14_an_answer_without_advisories_is_never_taken_for_no_vulnerability(
    pypi: Pypi, status: int, body: bytes
) -> None:
    pypi.answers_with(AIOHTTP, status, body)
    with pytest.raises(NoAnswer):
        ask_index(Index(pypi.url), [AIOHTTP, JINJA])
    assert len(pypi.asked) == 1


def test_x14_a_source_out_of_reach_is_named_without_its_credentials(pypi: Pypi) -> None:
    address = pypi.url.removeprefix("http://")
    pypi.answers_with(AIOHTTP, 500, b"")
    with pytest.raises(NoAnswer) as refused:
        ask_index(Index(f"http://ci:s%40cret@{address}"), [AIOHTTP])
    assert str(refused.value) == f"{pypi.url} answers 500"
    assert pypi.credentials == {"Basic Y2k6c0BjcmV0"}
    with pytest.raises(NoAnswer, match=r"^http://127\.0\.0\.1:1/pypi does not answer"):
        ask_index(Index("http://ci:secret@127.0.0.1:1/pypi"), [AIOHTTP])


REPORT = {
    "dependencies": [
        {"name": "aiohttp", "version": "3.14.5", "vulns": []},
        {
            "name": "jinja2",
            "version": "2.11.2",
            "vulns": [
                {
                    "id": "PYSEC-2021-66",
                    "fix_versions": [],
                    "aliases": ["CVE-2020-28493"],
                    "description": "Slow.",
                }
            ],
        },
        {"name": "wheel", "skip_reason": "Dependency not found on PyPI"},
    ],
    "fixes": [],
}


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a pip-audit that prints the contents of the file `report` beside it."""
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    file = tmp_path / "pip-audit"
    file.write_text(f"#!/bin/sh\necho 'network is unreachable' >&2\ncat {tmp_path}/report\nexit 1\n")
    file.chmod(0o755)
    return file


def test_x14_pip_audit_is_asked_where_pypi_does_not_answer(program: Path) -> None:
    program.with_name("report").write_text(json.dumps(REPORT))
    packages = [AIOHTTP, JINJA, WHEEL]
    code, text = said(ask_pip_audit([Path("dev.txt")], packages), packages)
    assert code == VULNERABLE
    assert "jinja2 2.11.2: CVE-2020-28493, PYSEC-2021-66 (not fixed yet) Slow." in text
    assert "says nothing of wheel 0.46.0" in text


@pytest.mark.parametrize("printed", ["", "{}", "[]", '{"dependencies": [{}]}'])
def test_x14_a_pip_audit_that_gives_no_report_is_no_source(program: Path, printed: str) -> None:
    program.with_name("report").write_text(printed)
    with pytest.raises(NoAnswer, match="network is unreachable"):
        ask_pip_audit([Path("dev.txt")], [AIOHTTP])


def test_x14_names_that_only_a_third_entry_connects_are_one_vulnerability() -> None:
    one, two, both = (Advisory(ids, (), "") for ids in (("A",), ("B",), ("A", "B")))
    assert merged([one, two, both]) == [Advisory(("A", "B"), (), "")]
    assert len(merged([one, two])) == 2


@pytest.mark.parametrize(
    ("configuration", "url", "certificates"),
    [
        ("", "https://index.example/pypi", None),
        (
            "global.index-url='https://mirror.example/simple/'\nglobal.cert='/ca.pem'\n",
            "https://mirror.example/pypi",
            "/ca.pem",
        ),
        (
            ":env:.index-url='https://env.example/a/simple'\nglobal.index-url='https://x.example/simple'\n",
            "https://env.example/a/pypi",
            None,
        ),
    ],
    ids=["pip's default", "configured", "a variable"],
)
def test_x14_the_index_is_the_one_that_pip_uses(
    configuration: str, url: str, certificates: str | None
) -> None:
    text = "  -i, --index-url <url>  Base URL of the index (default\n     https://index.example/simple). This"
    assert index_of(configuration, text) == Index(url, certificates)
    with pytest.raises(DevstackError, match="TOWPATH_ADVISORIES_URL"):
        index_of("", "nothing about an index")


def test_x14_every_line_of_the_lock_files_is_a_package_with_its_version() -> None:
    files = lock_files(CHECKOUT)
    assert [file.name for file in files] == ["dev.txt", "image.txt", "runtime.txt"]
    for file in files:
        text = file.read_text(encoding="utf-8")
        assert len(locked(text, file.name)) == text.count("==") - text.count(" == ") > 0


def test_x14_a_lock_file_is_read_with_markers_and_extras() -> None:
    text = "# a comment\nTyping_Extensions==4.1 \\\n    --hash=sha256:00\n    # via x\n"
    text += "uvicorn[standard]==1.0rc1 ; sys_platform == 'win32' \\\n"
    assert locked(text, "x.txt") == [Package("typing-extensions", "4.1"), Package("uvicorn", "1.0rc1")]
    with pytest.raises(DevstackError, match=r"x\.txt:1 names no exact version: aiohttp>=3"):
        locked("aiohttp>=3\n", "x.txt")


def test_x14_the_bill_of_materials_lists_what_ships(tmp_path: Path) -> None:
    printed = 'NAME="Debian GNU/Linux"\nVERSION_ID="12"\nID=debian\n'
    printed += "installed\tgit\t1:2.39.5-0+deb12u2\tamd64\ndeinstall\told\t1\tall\n"
    debian = debian_packages(printed)
    file = write_bill([AIOHTTP], debian, tmp_path / "dist", lambda _: None)
    text = file.read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    assert {component["purl"] for component in json.loads(text)["components"]} == {
        "pkg:pypi/aiohttp@3.14.5",
        "pkg:deb/debian/git@1:2.39.5-0%2Bdeb12u2?arch=amd64&distro=debian-12",
    }


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a checkout with one locked package, on a machine without image builder and pip-audit."""
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements/runtime.txt").write_text("aiohttp==3.14.5\n")
    monkeypatch.setattr("devstack.audit.CHECKOUT", tmp_path)
    monkeypatch.setattr("devstack.audit.builder_here", lambda: None)
    monkeypatch.setattr("devstack.audit.index_of", lambda *_: Index("http://index.example/pypi"))
    monkeypatch.setattr("devstack.advisories.shutil.which", lambda _: None)
    return tmp_path


def test_x14_without_a_source_the_audit_says_so_and_fails(checkout: Path) -> None:
    lines: list[str] = []
    assert audit(DevstackSettings(advisories_url="http://127.0.0.1:1/pypi"), lines.append) == NOT_AUDITED
    assert lines[0] == "Debian packages are not listed: neither Docker nor buildah is here"
    assert lines[1].endswith("(1 Python packages, 0 Debian packages)")
    assert lines[-1].startswith("could not be audited: http://127.0.0.1:1/pypi does not answer")
    assert lines[-1].endswith("pip-audit is not installed")
    assert "no known" not in "\n".join(lines)
    assert len(list((checkout / "dist").glob("towpath-*.cdx.json"))) == 1


def test_x14_the_audit_asks_the_source_that_is_set(checkout: Path, pypi: Pypi) -> None:
    pypi.knows(AIOHTTP)
    assert audit(DevstackSettings(advisories_url=f"{pypi.url}/"), lambda _: None) == CLEAN
    pypi.knows(AIOHTTP, listed("CVE-2026-1"))
    assert audit(DevstackSettings(advisories_url=pypi.url), lambda _: None) == VULNERABLE
