"""Importing Reelgrid does not change the process that imports it."""

import os
import subprocess
import sys

SHOW = """
import gc, os
{before}
print(sorted(os.environ), gc.get_threshold(), gc.isenabled(), gc.get_freeze_count())
"""


def process_after(statement: str) -> str:
    words = [sys.executable, "-c", SHOW.format(before=statement)]
    hidden = {"OMP_WAIT_POLICY", "DIFFUSERS_VERBOSITY", "TRANSFORMERS_VERBOSITY"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run(words, check=True, capture_output=True, text=True, env=environment).stdout


def test_importing_reelgrid_changes_neither_environment_nor_garbage_collector():
    libraries = "import torch, transformers, diffusers.modular_pipelines.modular_pipeline"
    assert process_after("import reelgrid; reelgrid.generate") == process_after(libraries)


def test_a_main_sets_the_environment_and_leaves_the_garbage_collector():
    said = process_after("from reelgrid.startup import prepare_process; prepare_process()")
    assert "OMP_WAIT_POLICY" in said
    assert said.split("]")[1] == process_after("pass").split("]")[1]


def test_imports_are_frozen_and_the_collector_is_as_before():
    with_imports = (
        "from reelgrid.startup import imports_without_collection as paused; import gc\n"
        "with paused():\n    assert not gc.isenabled()\n    import decimal"
    )
    threshold = "(700, 10, 10) True"
    said = process_after(with_imports)
    assert threshold in said
    assert int(said.split()[-1]) > 1_000
