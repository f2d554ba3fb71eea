"""`python -m reelgrid` and the `reelgrid` command."""

import sys

from reelgrid.cli.app import run


def main() -> None:
    """Run the command line and leave with its exit code."""
    sys.exit(run())


if __name__ == "__main__":
    main()
