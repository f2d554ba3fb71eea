"""`python -m reelgrid` and the `reelgrid` command."""

import io
import sys

from reelgrid.cli.app import run
from reelgrid.startup import prepare_process


def main() -> None:
    """Run the command line and exit with its code.

    If the shell closed stdout (`>&-`), `sys.stdout` is `None`; output is then discarded.
    """
    prepare_process()
    sys.stdout = sys.stdout or io.StringIO()
    sys.stderr = sys.stderr or io.StringIO()
    sys.exit(run())


if __name__ == "__main__":
    main()
