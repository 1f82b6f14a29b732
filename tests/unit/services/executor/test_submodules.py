"""Tests of the rules for submodules, with any text that a repository may contain."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.executor.checkout import Commit
from services.executor.submodules import (
    Index,
    Refused,
    Submodule,
    absolute_url,
    check_folder,
    check_path,
    commit_of,
    listed,
)

ROOT = Commit(
    "https://forge.example/octo/web.git",
    "a" * 40,
    "refs/heads/main",
    "b" * 40,
    1,
    "t0ps3cret",
    "https:http:file",
    shares_token=True,
)
SHA = "c" * 40


@pytest.mark.parametrize(
    ("url", "base", "expected"),
    [
        ("../lib.git", "https://f.example/octo/web.git", "https://f.example/octo/lib.git"),
        ("../lib.git", "https://f.example/octo/web.git/", "https://f.example/octo/lib.git"),
        ("../../core/lib", "https://f.example/octo/web", "https://f.example/core/lib"),
        ("./lib", "https://f.example/octo/web", "https://f.example/octo/web/lib"),
        ("./../lib", "https://f.example:8443/octo/web", "https://f.example:8443/octo/lib"),
        ("https://g.example/x", "https://f.example/octo/web", "https://g.example/x"),
        ("git@f.example:x", "https://f.example/octo/web", "git@f.example:x"),
    ],
)
def test_a_relative_url_is_resolved_as_git_does(url: str, base: str, expected: str) -> None:
    assert absolute_url(url, base) == expected


def test_a_relative_url_does_not_leave_the_server() -> None:
    with pytest.raises(Refused, match="leaves the server"):
        absolute_url("../../../evil.example/x", ROOT.url)


@pytest.mark.parametrize(
    "url",
    [
        "https://forge.example/octo/lib",
        "https://FORGE.example/octo/lib",
        "https://forge.example:443/octo/lib",
    ],
)
def test_the_token_is_for_the_server_of_the_clone_url(url: str) -> None:
    commit, settings = commit_of(ROOT, url, SHA)
    assert (commit.url, commit.sha, commit.ref, commit.merge_sha) == (url, SHA, None, None)
    assert (commit.token, commit.protocols) == ("t0ps3cret", "https")
    assert settings == {"http.followRedirects": "false"}


def test_the_token_of_an_untrusted_run_is_for_no_submodule() -> None:
    commit, _ = commit_of(replace(ROOT, shares_token=False), "https://forge.example/octo/lib", SHA)
    assert commit.token is None


def test_files_of_lfs_come_from_the_server_of_the_clone_url_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch, "8.8.8.8")
    root = replace(ROOT, lfs=True)
    assert commit_of(root, "https://forge.example/octo/lib", SHA)[0].lfs
    assert not commit_of(root, "https://other.example/lib", SHA)[0].lfs


def answer_with(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    asked: list[str] = []

    def resolve(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(f"{host}:{port}")
        if not addresses:
            raise socket.gaierror(-2, "Name or service not known")
        return [(0, 0, 0, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return asked


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("https://other.example/lib", 443),
        ("https://forge.example.evil.example/octo/lib", 443),
        ("https://forge.example:8443/octo/lib", 8443),
    ],
)
def test_another_server_gets_no_token_and_only_its_checked_addresses(
    monkeypatch: pytest.MonkeyPatch, url: str, port: int
) -> None:
    asked = answer_with(monkeypatch, "8.8.8.8", "2606:4700::1", "8.8.8.8")
    commit, settings = commit_of(ROOT, url, SHA)
    host = url.split("/")[2].partition(":")[0]
    assert (commit.token, asked) == (None, [f"{host}.:{port}"])
    assert settings["http.curloptResolve"] == f"{host}:{port}:8.8.8.8,2606:4700::1"
    assert settings["http.followRedirects"] == "false"


@pytest.mark.parametrize(
    "addresses",
    [
        ("127.0.0.1",),
        ("8.8.8.8", "10.0.0.1"),
        ("169.254.169.254",),
        ("::1",),
        ("fe80::1%eth0",),
        ("::ffff:10.0.0.1",),
        ("64:ff9b::7f00:1",),
        ("100.64.0.1",),
    ],
)
def test_x13_a_public_name_of_a_private_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]
) -> None:
    answer_with(monkeypatch, *addresses)
    with pytest.raises(Refused, match="leads to a private address"):
        commit_of(ROOT, "https://127.0.0.1.nip.io/lib", SHA)


def test_a_name_that_does_not_resolve_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answer_with(monkeypatch)
    with pytest.raises(Refused, match="can't be resolved: Name or service not known"):
        commit_of(ROOT, "https://other.example/lib", SHA)


@pytest.mark.parametrize(
    "url",
    [
        "http://other.example/lib",
        "http://forge.example/octo/lib",
        "https://10.0.0.1/lib",
        "https://[::1]/lib",
        "https://localhost/lib",
        "https://other.example./lib",
        "https://user:secret@forge.example/octo/lib",
        "https://forge.example@evil.example/octo/lib",
        "https://evil.example\\@forge.example/octo/lib",
        "https://forge.example/octo/lib\n",
        "https://forge.example/-x",
        "https://forge.example",
        "https://[",
        "https://forge.example:99999/x",
        "HTTPS://forge.example/x",
        "ssh://forge.example/x",
        "file:///x",
        "ext::sh -c x://",
        "",
    ],
)
def test_other_urls_are_refused_and_credentials_in_them_not_shown(url: str) -> None:
    with pytest.raises(Refused) as error:
        commit_of(ROOT, url, SHA)
    assert "secret" not in str(error.value)


PRIVATE = replace(ROOT, url="http://10.0.0.1:3000/octo/web.git")


@pytest.mark.parametrize(
    ("url", "token"),
    [
        ("http://10.0.0.1:3000/lib", "t0ps3cret"),
        ("http://10.0.0.1/lib", None),
        ("https://10.0.0.2/lib", None),
    ],
)
def test_a_private_address_is_allowed_only_as_that_of_the_clone_url(url: str, token: str | None) -> None:
    if token is None:
        with pytest.raises(Refused):
            commit_of(PRIVATE, url, SHA)
    else:
        assert commit_of(PRIVATE, url, SHA)[0].token == token


@given(st.text(max_size=40) | st.text(max_size=20).map("https://forge.example{}".format))
def test_no_url_gives_the_token_to_another_server(url: str) -> None:
    try:
        commit, _ = commit_of(ROOT, url, SHA)
    except Refused:
        return
    assert commit.token is None or url.lower().startswith(
        ("https://forge.example/", "https://forge.example:443/", "https://forge.example./")
    )


@pytest.mark.parametrize(
    "path",
    ["../x", "a/../../x", "/x", ".git", "a/.git/b", "a/.GIT", "-x", "", "a//b", "a/", ".", "a\nb", "a\x00b"],
)
def test_a_path_that_leads_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(Refused):
        check_path("path", path)


@pytest.mark.parametrize("path", ["lib", "third party/lib", "a/-b", ".github/x", "a.git", "é"])
def test_an_ordinary_path_is_not(path: str) -> None:
    check_path("path", path)


def test_a_folder_behind_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real" / "lib").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    check_folder(tmp_path, "real/lib")
    with pytest.raises(Refused, match="symbolic link"):
        check_folder(tmp_path, "link/lib")
    (tmp_path / "real" / "lib" / ".git").touch()
    with pytest.raises(Refused, match="not empty"):
        check_folder(tmp_path, "real/lib")
    with pytest.raises(Refused, match="can't be used: No such file"):
        check_folder(tmp_path, "missing/lib")


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_the_index_is_read_in_pieces_of_any_size(size: int) -> None:
    listing = (
        f"100644 {'d' * 40} 0\t.gitmodules\x00160000 {SHA} 0\ta\nb\x00100644 {'d' * 40} 0\tx\x00"
    ).encode()
    index = Index()
    for start in range(0, len(listing), size):
        index(listing[start : start + size])
    assert (index.submodules, index.modules_mode) == ({b"a\nb": SHA}, "100644")


def test_the_first_value_of_a_submodule_counts_and_unused_entries_do_not() -> None:
    modules = b"submodule.a.b.path\nlib\0submodule.a.b.url\n../x\0submodule.a.b.url\n../y\0core.bare\0"
    unused = b"submodule.z.path\nz\0submodule.z.url\next::x\0"
    assert list(listed({b"lib": SHA}, modules + unused)) == [Submodule("lib", "../x", SHA)]


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(Refused, match="UTF-8"):
        list(listed({b"\xff": SHA}, b""))
