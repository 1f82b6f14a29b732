"""The commands behind make: `python -m devstack COMMAND`."""

import argparse
import sys

from pydantic import ValidationError

from devstack.assets import fetch_assets
from devstack.audit import audit
from devstack.deploy import deploy
from devstack.errors import DevstackError
from devstack.images import build_images
from devstack.install import install_browser, install_missing
from devstack.release import build_wheel, release
from devstack.settings import DevstackSettings
from devstack.stack import CHECKOUT
from devstack.up import down, status, up

COMMANDS = (
    "install",
    "assets",
    "images",
    "wheel",
    "release",
    "audit",
    "deploy",
    "up",
    "down",
    "status",
    "demo",
)


def main() -> int:
    """Run a command. Return 0 on success (for `status`: everything is running), or 1.

    The reason for a failure is printed on stderr. `audit` has other exit codes.
    """
    parser = argparse.ArgumentParser(prog="python -m devstack", description="Towpath on this machine.")
    parser.add_argument("command", choices=COMMANDS)
    command = parser.parse_args().command
    try:
        return _run(command, DevstackSettings())
    except DevstackError as error:
        print(f"{command} failed: {error}", file=sys.stderr)
    except ValidationError as error:
        print(f"a setting is not as it must be: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"{command} interrupted; `make down` stops what was started", file=sys.stderr)
    return 1


def _run(command: str, settings: DevstackSettings) -> int:
    if command == "install":
        install_missing(_say)
        install_browser(_say)
        fetch_assets(_say)
    elif command == "assets":
        return 0 if fetch_assets(_say) else 1
    elif command == "audit":
        return audit(settings, _say)
    elif command in {"images", "wheel", "release", "deploy"}:
        _make(command, settings)
    elif command == "up":
        ours = up(settings, _say)
        _say(
            f"\n  . .towpath/env     # sets TOWPATH_URL={ours.stack.address()} and an administrator's "
            "TOWPATH_TOKEN in your shell"
        )
    elif command == "down":
        down(settings, _say)
    elif command == "status":
        return 0 if status(settings, _say) else 1
    else:
        from devstack.demo import demo  # noqa: PLC0415 - the HTTP client is not needed by the other commands

        return demo(settings, _say)
    return 0


def _make(command: str, settings: DevstackSettings) -> None:
    if command == "images":
        build_images(settings, _say)
    elif command == "wheel":
        build_wheel(CHECKOUT / "dist", _say)
    elif command == "release":
        release(settings, _say)
    else:
        deploy(settings, _say)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
