"""From an order to a finished file: load, iterate, save when due, write, account.

The command line and `reelgrid.generate` both end here. Not here: bars, options and exit codes
(`cli`), and how a step is made (`engine`).
"""

from reelgrid.studio.api import Clip, generate
from reelgrid.studio.making import Interrupted, Order, make, resume
from reelgrid.studio.report import Report
from reelgrid.studio.unfinished import Unfinished, list_unfinished

__all__ = [
    "Clip",
    "Interrupted",
    "Order",
    "Report",
    "Unfinished",
    "generate",
    "list_unfinished",
    "make",
    "resume",
]
