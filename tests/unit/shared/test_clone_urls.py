"""Tests of clone URLs: they do not lead into private networks and are never taken as an option of git."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.clone_urls import address_of, clone_url_fault

GOOD = [
    "https://github.com/octo/web.git",
    "https://github.com/octo/web",
    "https://git.example.co.uk:8443/a/b.git",
    "https://8.8.8.8/o/r.git",
    "https://[2606:4700::1]/o/r.git",
    "https://xn--bcher-kva.example/o/r",
]
LOCAL = [
    "http://127.0.0.1:3000/o/r.git",
    "http://localhost/o/r.git",
    "https://127.0.0.1/o/r",
    "http://10.88.0.1:3000/o/r.git",
    "file:///srv/git/r.git",
    "https://forge/o/r.git",
    "https://192.168.0.1/o/r",
    "https://169.254.169.254/latest",
    "https://[::1]/o/r",
    "https://[fe80::1]/o/r",
    "https://[::ffff:127.0.0.1]/o/r",
    "https://[::ffff:10.0.0.1]/o/r",
    "https://0.0.0.0/o/r",
    "https://100.64.0.1/o/r",
    "https://2130706433/o/r",
    "https://0x7f.1/o/r",
    "https://127.1/o/r",
    "https://git.svc.cluster.local/o/r",
    "https://git.internal/o/r",
    "https://localhost./o/r",
]
LEADING_TO_PRIVATE = [
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::7f00:1",
    "64:ff9b:1:7f00:0:100::",
    "2002:7f00:1::",
    "2002:c0a8:1::1",
    "::7f00:1",
    "::ffff:0:7f00:1",
    "fec0::1",
]
"""IPv6 addresses that a translator or tunnel maps to a private IPv4 address, and site-local addresses."""
BAD = [
    "",
    "-",
    "--upload-pack=touch x",
    "-uhttps://github.com/o/r",
    "github.com/o/r",
    "git@github.com:o/r.git",
    "ssh://git@github.com/o/r",
    "ext::sh -c id",
    "git://github.com/o/r",
    "https://user:password@github.com/o/r",
    "https://token@github.com/o/r",
    "https://github.com",
    "https://github.com/",
    "https://github.com/-x",
    "https:///o/r",
    "https://github.com/o/r?x=1",
    "https://github.com/o/r#x",
    "https://github.com:99999/o/r",
    "https://github.com:0/o/r",
    "https://github.com/o/r\n",
    "https://github.com/o r",
    "https://g\u0131thub.com/o/r",
    "https://github.com/" + "x" * 2000,
    "file://host/srv/git",
    "file:///srv/../etc",
    "file:relative",
]


@pytest.mark.parametrize("url", GOOD)
def test_a_forges_address_is_good_everywhere(url: str) -> None:
    assert clone_url_fault(url, allow_local=False) is None
    assert clone_url_fault(url, allow_local=True) is None


@pytest.mark.parametrize("address", LEADING_TO_PRIVATE)
def test_x13_an_ipv6_address_that_leads_to_a_private_place_is_private(address: str) -> None:
    assert clone_url_fault(f"https://[{address}]/o/r", allow_local=False) == "This address is private."
    assert clone_url_fault(f"https://[{address}]/o/r", allow_local=True) is None


@pytest.mark.parametrize("address", ["64:ff9b::808:808", "2002:808:808::1"])
def test_x13_one_that_leads_to_a_public_place_is_public(address: str) -> None:
    assert clone_url_fault(f"https://[{address}]/o/r", allow_local=False) is None


@pytest.mark.parametrize("url", LOCAL)
def test_private_places_only_where_they_are_allowed(url: str) -> None:
    assert clone_url_fault(url, allow_local=False)
    assert clone_url_fault(url, allow_local=True) is None


@pytest.mark.parametrize("url", BAD)
def test_nothing_else_is_good_anywhere(url: str) -> None:
    assert clone_url_fault(url, allow_local=False)
    assert clone_url_fault(url, allow_local=True)


@given(st.text(max_size=50))
def test_no_text_surprises_it(text: str) -> None:
    fault = clone_url_fault(text, allow_local=False)
    assert fault or text.startswith("https://")


def test_x10_an_address_is_scheme_host_port_and_path() -> None:
    assert address_of("https://GitHub.com/o/r") == address_of("https://github.com.:443/o/r")
    others = (
        "https://github.com/o/r",
        "http://github.com/o/r",
        "https://github.com:8443/o/r",
        "https://github.org/o/r",
        "https://github.com/o/other",
        "https://github.com/O/r",
    )
    assert len({address_of(url) for url in others}) == len(others)
