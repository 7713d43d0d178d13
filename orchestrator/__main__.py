"""The command line, `parhelion` or `python -m orchestrator`: errors become one message and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from orchestrator.commandline.application import app
from orchestrator.errors import ParhelionError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; answers its exit status: 0, 1 for a failed run, 2 for a user's mistake, 130 when interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(args=given, prog_name="parhelion")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    except ParhelionError as error:
        print(error, file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:
        # Whoever read our output has gone; leave without a second complaint at shutdown.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
