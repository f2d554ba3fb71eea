"""Generations in this process: `reelgrid.generate`, and the runs of the command line."""

from reelgrid.local.python_api import Clip, generate
from reelgrid.local.run import RunInterrupted, RunReport, RunSpec, generate_file, resume
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
