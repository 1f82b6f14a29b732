"""`towpath` and `python -m cli`: runs one command and maps every result to an exit code (docs/cli.md)."""

import os
import sys

from .errors import FAILED, CommandError
from .sanitize import one_line


def main() -> None:
    from .app import build  # noqa: PLC0415 - an interrupt while it loads is caught below

    try:
        build()(prog_name="towpath")
    except CommandError as error:
        _tell(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # The reader has closed the pipe. Output that is still buffered goes to /dev/null.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)


def _tell(error: CommandError) -> None:
    print(f"towpath: {one_line(error.message)}", file=sys.stderr)
    for detail in error.details:
        print(f"  {one_line(detail)}", file=sys.stderr)
    if error.fix:
        print(f"  {one_line(error.fix)}", file=sys.stderr)


if __name__ == "__main__":
    main()
