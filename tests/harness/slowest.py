"""`python -m tests.harness.slowest FOLDER`: print the slowest tests of all JUnit reports in the folder."""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path

SHOWN = 20


def slowest(folder: Path, count: int = SHOWN) -> list[tuple[float, str]]:
    """Return (seconds, name) of the slowest tests, the slowest first.

    The reports are trusted: our own pytest calls wrote them.
    """
    reports = [ET.parse(report) for report in sorted(folder.glob("*.xml"))]  # noqa: S314 - our own files
    cases = [case for report in reports for case in report.iter("testcase")]
    timed = [(float(case.get("time", "0")), f"{case.get('classname')}::{case.get('name')}") for case in cases]
    return sorted(timed, reverse=True)[:count]


def main(folder: Path) -> None:
    print("\n==== the slowest tests")
    for seconds, name in slowest(folder):
        print(f"{seconds:7.1f} s  {name}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
