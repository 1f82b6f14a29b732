"""Tests of the builds of `make images`."""

import json
import tarfile
from pathlib import Path

import pytest

from devstack.errors import DevstackError
from devstack.images import BUILDERS, Order, build_images, pip_configuration, qualified, tag_archive, tags_of
from devstack.settings import DevstackSettings
from shared import VERSION

DOCKERFILE = (Path(__file__).parents[3] / "Dockerfile").read_text()


def test_the_image_is_tagged_with_the_version_and_as_the_latest() -> None:
    assert tags_of("registry.example:5000/ci/towpath") == (
        f"registry.example:5000/ci/towpath:{VERSION}",
        "registry.example:5000/ci/towpath:latest",
    )


@pytest.mark.parametrize(
    ("tag", "whole"),
    [
        ("towpath:1", "docker.io/library/towpath:1"),
        ("octo/towpath:1", "docker.io/octo/towpath:1"),
        ("registry.example/towpath:1", "registry.example/towpath:1"),
        ("registry:5000/towpath:1", "registry:5000/towpath:1"),
        ("localhost/towpath:1", "localhost/towpath:1"),
    ],
)
def test_a_short_name_means_what_it_means_to_a_cluster(tag: str, whole: str) -> None:
    assert qualified(tag) == whole


@pytest.mark.parametrize("builder", sorted(BUILDERS))
def test_a_build_gets_the_networks_settings_as_secrets_alone(builder: str) -> None:
    argv = BUILDERS[builder].build(Order(("towpath:1", "towpath:latest"), {"ca": Path("/certificates.pem")}))
    assert argv[argv.index("--secret") + 1] == "id=ca,src=/certificates.pem"
    assert [argv[at + 1] for at, word in enumerate(argv) if word == "--build-arg"] == [f"VERSION={VERSION}"]
    assert sum(word == "--tag" for word in argv) == 2


def test_every_secret_that_is_passed_is_mounted() -> None:
    for name in ("ca", "pip_conf", "npmrc"):
        assert f"--mount=type=secret,id={name}" in DOCKERFILE


def test_of_pips_configuration_only_where_packages_come_from_goes_into_the_build() -> None:
    printed = (
        ":env:.index-url='https://mirror.example/simple'\n"
        "global.cert='/etc/ssl/ca.pem'\nglobal.trusted-host='mirror.example'\n"
    )
    assert (
        pip_configuration(printed)
        == "[global]\nindex-url = https://mirror.example/simple\ntrusted-host = mirror.example\n"
    )
    assert pip_configuration("global.cert='/etc/ssl/ca.pem'\n") == ""


def test_an_archive_gets_every_tag_and_keeps_its_layers(tmp_path: Path) -> None:
    for name, text in (
        ("manifest.json", json.dumps([{"Config": "c.json", "RepoTags": ["one:1"]}])),
        ("layer.tar", "bytes"),
    ):
        (tmp_path / name).write_text(text)
    archive = tmp_path / "image.tar"
    with tarfile.open(archive, "w") as tar:
        for name in ("layer.tar", "manifest.json"):
            tar.add(tmp_path / name, name)

    tag_archive(archive, ["one:1", "one:latest"])

    with tarfile.open(archive) as tar:
        contents = {member.name: file.read() for member in tar if (file := tar.extractfile(member))}
    assert contents["layer.tar"] == b"bytes"
    assert json.loads(contents["manifest.json"]) == [
        {"Config": "c.json", "RepoTags": ["one:1", "one:latest"]}
    ]


def test_where_nothing_can_build_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DevstackError, match="apt-get install buildah"):
        build_images(DevstackSettings(), print)
