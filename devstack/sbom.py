"""The bill of materials (SBOM) of the container image, as CycloneDX JSON.

It lists the locked Python packages and the Debian packages. It has no dependencies between them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from devstack.locked import Package
from shared import VERSION

QUERY = (
    "cat /etc/os-release && dpkg-query --show "
    r"--showformat '${db:Status-Status}\t${Package}\t${Version}\t${Architecture}\n'"
)
"""A command for a shell in the image. `debian_packages` parses its output."""


@dataclass(frozen=True, order=True)
class DebianPackage:
    name: str
    version: str
    architecture: str
    distribution: str
    """The distribution and its version, such as `debian-12`."""


def debian_packages(printed: str) -> list[DebianPackage]:
    """Return the installed packages in the output of QUERY.

    Packages of which only the configuration is left are not installed.
    """
    facts = dict(re.findall(r'^(ID|VERSION_ID)="?([^"\n]*)"?$', printed, flags=re.MULTILINE))
    distribution = f"{facts.get('ID', 'unknown')}-{facts.get('VERSION_ID', 'unknown')}"
    rows = re.findall(r"^installed\t(\S+)\t(\S+)\t(\S+)$", printed, flags=re.MULTILINE)
    return sorted(
        DebianPackage(name, version, architecture, distribution) for name, version, architecture in rows
    )


def bill_of_materials(packages: Sequence[Package], debian: Sequence[DebianPackage]) -> str:
    """Return the document as JSON text."""
    bom = Bom()
    image = Component(type=ComponentType.CONTAINER, name="towpath", version=VERSION, bom_ref="towpath")
    bom.metadata.component = image
    urls = [PackageURL("pypi", None, package.name, package.version) for package in packages]
    urls += [
        PackageURL(
            "deb", "debian", each.name, each.version, {"arch": each.architecture, "distro": each.distribution}
        )
        for each in debian
    ]
    components = [
        Component(
            name=url.name, version=url.version, purl=url, bom_ref=url.to_string(), type=ComponentType.LIBRARY
        )
        for url in urls
    ]
    bom.components.update(components)
    bom.register_dependency(image, components)
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"
