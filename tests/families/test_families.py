"""What must hold for every family of models, shown on tiny random pipelines of ten of them."""

import copy
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from reelgrid.engine.generation import Generation, Progress
from reelgrid.engine.pipeline_io import frames_of, pipeline_inputs, set_guidance
from reelgrid.spec import Request
from tests.families.tiny import BUILDERS, tiny_model

# diffusers' own, in its ancestral Euler scheduler.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROOT = Path(__file__).parents[2]
NUM_STEPS = 3


@dataclass
class Whole:
    """A finished generation, with a checkpoint of every step."""

    progress: list[Progress]
    frames: np.ndarray
    exact_frames: np.ndarray
    diffusers_frames: np.ndarray
    previews: list[np.ndarray]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("families")
    Image.new("RGB", (40, 30), (200, 30, 10)).save(made / "first.png")
    return made


@pytest.fixture(scope="session")
def wholes(folder):
    return {family: run_whole(family, folder) for family in BUILDERS}


@pytest.fixture(scope="session")
def finished(wholes, folder):
    """Every checkpoint, finished by another process."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    subprocess.run(
        [sys.executable, "-m", "tests.families.finish", str(folder), *wholes],
        env=environment | threads,
        cwd=ROOT,
        check=True,
        timeout=150,
    )
    return folder


def run_whole(family: str, folder: Path) -> Whole:
    model = tiny_model(family, num_steps=NUM_STEPS)
    first = folder / "first.png" if model.card.can_first_frame else None
    request = Request("a red ball rolls to the right", seed=5, first_frame=first)
    (folder / family).mkdir()
    progress, previews = [], []
    with Generation(model, request) as generation:
        generation.save_checkpoint(folder / family / "00-encode.safetensors")
        for done in generation:
            progress.append(done)
            if done.stage != "decode":
                generation.save_checkpoint(
                    folder / family / f"{len(progress):02}-{done.stage}.safetensors"
                )
            if done.stage == "denoise":
                previews.append(generation.preview())
        frames = generation.frames
    with Generation(model, request, exact=True) as generation:
        for _ in generation:
            pass
        exact = generation.frames
    return Whole(progress, frames, exact, frames_by_diffusers(model, request), previews)


def frames_by_diffusers(model, request):
    """The frames of the same request by diffusers' own call of the same pipeline."""
    pipeline = copy.deepcopy(model.pipeline)
    set_guidance(pipeline, model, model.card.complete(request))
    for block in pipeline._blocks.sub_blocks.values():
        for loop in (block, *block.sub_blocks.values()):
            if hasattr(loop, "set_progress_bar_config"):
                loop.set_progress_bar_config(disable=True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(request.seed)
        state = pipeline(**pipeline_inputs(model, model.card.complete(request)))
    return frames_of(state.values)


@pytest.mark.parametrize("family", BUILDERS)
def test_exact_frames_are_those_of_diffusers_own_pipeline_bit_for_bit(family, wholes):
    np.testing.assert_array_equal(wholes[family].exact_frames, wholes[family].diffusers_frames)


@pytest.mark.parametrize("family", BUILDERS)
def test_fast_frames_are_the_exact_ones_but_for_rounding(family, wholes):
    whole = wholes[family]
    np.testing.assert_allclose(whole.frames.astype(int), whole.exact_frames.astype(int), atol=1)


@pytest.mark.parametrize("family", BUILDERS)
def test_stopped_at_each_step_and_finished_in_a_new_process_it_is_the_same(
    family, wholes, finished
):
    stops = sorted((finished / family).glob("*.npy"))
    assert len(stops) == NUM_STEPS + 2
    for stop in stops:
        np.testing.assert_array_equal(np.load(stop), wholes[family].frames, err_msg=stop.name)


@pytest.mark.parametrize("family", BUILDERS)
def test_progress_counts_every_step_of_the_loop(family, wholes):
    seen = [(done.stage, done.step, done.num_steps) for done in wholes[family].progress]
    steps = [("denoise", i + 1, NUM_STEPS) for i in range(NUM_STEPS)]
    assert seen == [("encode", 0, NUM_STEPS), *steps, ("decode", NUM_STEPS, NUM_STEPS)]


@pytest.mark.parametrize("family", BUILDERS)
def test_the_preview_after_the_last_step_is_the_finished_frame(family, wholes):
    whole = wholes[family]
    assert len(whole.previews) == NUM_STEPS
    assert all(image.dtype == np.uint8 and image.shape[-1] == 3 for image in whole.previews)
    np.testing.assert_allclose(
        whole.previews[-1].astype(int), whole.frames[len(whole.frames) // 2].astype(int), atol=1
    )
