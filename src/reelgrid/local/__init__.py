"""From an order to a finished file: load, iterate, save when due, write, account.

The command line and `reelgrid.generate` both end here. Not here: bars, options and exit codes
(`cli`), and how a step is made (`engine`).
"""

from reelgrid.local.python_api import Clip, generate
from reelgrid.local.run import RunInterrupted, RunSpec, generate_file, resume
from reelgrid.local.run_report import RunReport
from reelgrid.local.unfinished_runs import UnfinishedRun, list_unfinished_runs

__all__ = [
    "Clip",
    "RunInterrupted",
    "RunReport",
    "RunSpec",
    "UnfinishedRun",
    "generate",
    "generate_file",
    "list_unfinished_runs",
    "resume",
]
