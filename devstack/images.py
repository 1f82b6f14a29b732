"""`make images`: builds the container image with Docker or buildah, whichever works on this machine.

The build gets the settings of this machine's network as secrets: a bundle of certificates, the package index
of pip's configuration, and npm's registry. They are not written into a layer, and the Dockerfile does not
contain them.
"""

import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from devstack.docker import docker_works
from devstack.errors import DevstackError
from devstack.settings import DevstackSettings, system_variable
from devstack.stack import CHECKOUT
from devstack.state import write_private
from shared import VERSION

_PIP_KEYS = ("index-url", "extra-index-url", "trusted-host")
_NOTHING_WORKS = (
    "neither Docker with buildx (docker.io and docker-buildx, its daemon running) nor buildah is here. "
    "On Debian and Ubuntu this is enough, as root: apt-get install buildah"
)


@dataclass(frozen=True)
class Order:
    """One build: its tags, and its secrets by name."""

    tags: tuple[str, ...]
    secrets: dict[str, Path]


def build_images(settings: DevstackSettings, say: Callable[[str], None]) -> None:
    """Build the image, tag it `<image>:<version>` and `<image>:latest`, and write the archive if one is set.

    Safe to repeat; layers are cached. Raises DevstackError with the packages to install if no builder works.
    """
    builder = builder_here()
    if builder is None:
        raise DevstackError(_NOTHING_WORKS)
    tags = tags_of(settings.image)
    with tempfile.TemporaryDirectory(prefix="towpath-build-") as scratch:
        order = Order(tags, _secrets(Path(scratch)))
        say(
            f"building {' and '.join(tags)} with {builder} (secrets of this network: "
            f"{', '.join(order.secrets) or 'none'})"
        )
        _run(BUILDERS[builder].build(order))
    if settings.image_archive is not None:
        settings.image_archive.parent.mkdir(parents=True, exist_ok=True)
        settings.image_archive.unlink(missing_ok=True)  # buildah does not overwrite an archive
        BUILDERS[builder].save(tags, settings.image_archive)
        say(f"written to {settings.image_archive}")


def builder_here() -> str | None:
    """Return the name of the first builder that works, or None."""
    return next((name for name, builder in BUILDERS.items() if builder.works()), None)


def tags_of(image: str) -> tuple[str, ...]:
    return (f"{image}:{VERSION}", f"{image}:latest")


@dataclass(frozen=True)
class Builder:
    """A program that builds images.

    `works` checks it on this machine, `build` returns the command of a build, and `save` writes an archive
    with all tags.
    """

    works: Callable[[], bool]
    build: Callable[[Order], list[str]]
    save: Callable[[tuple[str, ...], Path], None]


def _docker_builds() -> bool:
    return (
        docker_works()
        and subprocess.run(["docker", "buildx", "version"], capture_output=True, check=False).returncode == 0
    )


def _docker_build(order: Order) -> list[str]:
    return [
        "docker",
        "buildx",
        "build",
        "--load",
        *_arguments(order),
        *(word for tag in order.tags for word in ("--tag", tag)),
        ".",
    ]


def _docker_save(tags: tuple[str, ...], archive: Path) -> None:
    _run(["docker", "save", "--output", str(archive), *tags])


def _buildah_build(order: Order) -> list[str]:
    # This needs neither a container runtime nor a network of its own, so it works in containers too.
    isolation = [
        "--isolation",
        "chroot",
        "--network",
        "host",
    ]
    tags = [word for tag in order.tags for word in ("--tag", qualified(tag))]
    return ["buildah", "build", "--layers", *isolation, *_arguments(order), *tags, "."]


def _buildah_save(tags: tuple[str, ...], archive: Path) -> None:
    _run(["buildah", "push", qualified(tags[0]), f"docker-archive:{archive}:{qualified(tags[0])}"])
    tag_archive(archive, [qualified(tag) for tag in tags])


def tag_archive(archive: Path, tags: list[str]) -> None:
    """Set these tags in a docker-archive. buildah writes only one tag."""
    partial = archive.with_name(archive.name + ".partial")
    with tarfile.open(archive) as written, tarfile.open(partial, "w") as tagged:
        for member in written:
            content: IO[bytes] | None = written.extractfile(member) if member.isfile() else None
            if member.name == "manifest.json" and content is not None:
                images = json.load(content)
                images[0]["RepoTags"] = tags
                text = json.dumps(images).encode()
                member.size, content = len(text), io.BytesIO(text)
            tagged.addfile(member, content)
    partial.replace(archive)


def qualified(tag: str) -> str:
    """Return the full name of an image.

    buildah stores a short name under `localhost/`, where no cluster finds it.
    """
    first, slash, _ = tag.partition("/")
    if slash and (re.search(r"[.:]", first) or first == "localhost"):
        return tag
    return f"docker.io/{tag}" if slash else f"docker.io/library/{tag}"


BUILDERS = {
    "docker": Builder(_docker_builds, _docker_build, _docker_save),
    "buildah": Builder(lambda: shutil.which("buildah") is not None, _buildah_build, _buildah_save),
}


def _arguments(order: Order) -> list[str]:
    secrets = [word for name, path in order.secrets.items() for word in ("--secret", f"id={name},src={path}")]
    return ["--build-arg", f"VERSION={VERSION}", *secrets]


def _secrets(scratch: Path) -> dict[str, Path]:
    """Return the build's secrets by name, as files."""
    secrets = {}
    certificates = system_variable("SSL_CERT_FILE")
    if certificates and Path(certificates).is_file():
        secrets["ca"] = Path(certificates)
    for name, text in (
        ("pip_conf", pip_configuration(_printed([sys.executable, "-m", "pip", "config", "list"]))),
        ("npmrc", _npm_configuration()),
    ):
        if text:
            secrets[name] = scratch / name
            write_private(secrets[name], text)
    return secrets


def _printed(argv: list[str]) -> str:
    """Return what a program prints, or an empty string if it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=CHECKOUT, check=False)
    return done.stdout if done.returncode == 0 else ""


def pip_configuration(printed: str) -> str:
    """Return a pip configuration with only the index addresses.

    `printed` is the output of `pip config list`: lines `global.index-url='…'`, `:env:.index-url='…'`.
    """
    found = {}
    for line in printed.splitlines():
        name, _, value = line.partition("=")
        key = name.rpartition(".")[2]
        if key in _PIP_KEYS:
            found[key] = value.strip("'\"").replace("\\n", "\n    ")
    return "[global]\n" + "".join(f"{key} = {value}\n" for key, value in found.items()) if found else ""


def _npm_configuration() -> str:
    """Return npm's configured registry as an npmrc, or an empty string without npm."""
    registry = _printed(["npm", "config", "get", "registry"]).strip() if shutil.which("npm") else ""
    return f"registry={registry}\n" if registry.startswith("http") else ""


def _run(argv: list[str]) -> None:
    if subprocess.run(argv, cwd=CHECKOUT, stdin=subprocess.DEVNULL, check=False).returncode != 0:
        raise DevstackError(f"`{' '.join(argv[:2])}` failed; what it said stands above")
