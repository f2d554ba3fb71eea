"""A generation as an iterator: alternating, previews, closing, errors."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import HeunDiscreteScheduler

from reelgrid.engine import guidance, preview, stepped_pipeline
from reelgrid.engine.device import choose_num_threads
from reelgrid.engine.generation import Generation
from reelgrid.engine.pipeline_io import set_guidance
from reelgrid.errors import GenerationError, RequestError
from reelgrid.spec import Request, Size
from tests.families.tiny import tiny_model


def finish(generation):
    for _ in generation:
        pass
    return generation.frames


def test_two_alternating_generations_give_what_each_gives_alone(model):
    requests = [Request("a red ball", seed=1), Request("a blue box", seed=2, guidance_scale=1.5)]
    alone = [finish(Generation(model, each)) for each in requests]
    turns = [Generation(model, each) for each in requests]
    for _ in zip(*turns, strict=True):
        pass
    for whole, in_turns in zip(alone, turns, strict=True):
        np.testing.assert_array_equal(in_turns.frames, whole)


def test_a_step_uses_its_own_random_numbers_and_leaves_the_global_ones_alone():
    ancestral = tiny_model("stable_diffusion_xl", num_steps=3)
    request = Request("a red ball", seed=3)
    torch.manual_seed(11)
    before = torch.get_rng_state()
    first = finish(Generation(ancestral, request))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(12)
    np.testing.assert_array_equal(finish(Generation(ancestral, request)), first)


def test_steps_whose_timesteps_round_to_the_same_number_are_all_made():
    many = tiny_model("wan_unipc", num_steps=600)
    with Generation(many, Request("a red ball", num_frames=1)) as generation:
        steps = [progress.step for progress in generation if progress.stage == "denoise"]
        assert steps == list(range(1, 601))
        assert generation.frames.shape[0] == 1


def test_a_solver_that_calls_the_network_twice_per_step_counts_the_steps_requested(tmp_path):
    """Heun's method makes 2 n - 1 calls for n steps (Karras et al. 2022, algorithm 1)."""
    heun = tiny_model("stable_diffusion_xl", num_steps=4)
    config = heun.pipeline.scheduler.config
    heun.pipeline.update_components(scheduler=HeunDiscreteScheduler.from_config(config))
    with Generation(heun, Request("a red ball")) as generation:
        seen = [(done.stage, done.step, done.num_steps) for done in generation]
        assert len(generation.timings.step_s) == 7
        whole = generation.frames
    assert seen == [
        ("encode", 0, 4),
        *[("denoise", step, 4) for step in (0, 1, 1, 2, 2, 3, 4)],
        ("decode", 4, 4),
    ]
    halfway = Generation(heun, Request("a red ball"))
    for _ in range(4):
        next(halfway)
    halfway.save_checkpoint(tmp_path / "x.safetensors")
    restored = Generation.restore(tmp_path / "x.safetensors", heun)
    assert [done.step for done in restored] == [2, 2, 3, 4, 4]
    np.testing.assert_array_equal(restored.frames, whole)


def test_another_seed_makes_other_frames(model, request_):
    frames = [finish(Generation(model, request_.with_(seed=seed))) for seed in (0, 1)]
    assert not np.array_equal(*frames)


def test_guidance_and_prompt_reach_the_network(model, request_):
    whole = finish(Generation(model, request_))
    for other in (
        request_.with_(guidance_scale=6.0),
        request_.with_(guidance_scale=1.0),
        request_.with_(prompt="a blue box"),
        request_.with_(negative_prompt="a blue box"),
    ):
        assert not np.array_equal(finish(Generation(model, other)), whole)


def test_guidance_below_one_is_off_and_still_follows_the_prompt(model, request_):
    off = finish(Generation(model, request_.with_(guidance_scale=1.0)))
    zero = finish(Generation(model, request_.with_(guidance_scale=0.0)))
    np.testing.assert_array_equal(zero, off)
    other = request_.with_(guidance_scale=0.0, prompt="a blue box")
    assert not np.array_equal(finish(Generation(model, other)), zero)


def test_two_experts_keep_guidance_tuned_apart_unless_another_is_asked_for(request_):
    experts = tiny_model("wan22_two_experts")
    pipeline = stepped_pipeline.own_components(experts.pipeline)
    for asked, expected in ((3.0, (3.0, 3.5)), (6.0, (6.0, 6.0))):
        pipeline.guider_2.guidance_scale = 3.5
        set_guidance(pipeline, experts, request_.with_(guidance_scale=asked))
        assert (pipeline.guider.guidance_scale, pipeline.guider_2.guidance_scale) == expected


def test_asking_for_previews_changes_nothing(model, request_):
    watched = Generation(model, request_)
    for done in watched:
        if done.stage == "denoise":
            watched.preview()
    np.testing.assert_array_equal(watched.frames, finish(Generation(model, request_)))


def test_a_big_clips_preview_decodes_one_small_latent_frame(model, monkeypatch):
    monkeypatch.setattr(preview, "MAX_CLIP_PX", 0)
    monkeypatch.setattr(preview, "MAX_LATENT_SIDE", 2)
    generation = Generation(model, Request("a red ball", num_frames=17))
    next(generation)
    next(generation)
    assert generation.preview().shape == (16, 16, 3)


def test_predicted_clean_latents_are_exact_where_the_prediction_is(model, request_):
    """On a straight path x(s) = (1 - s) clean + s noise, with the true velocity noise - clean."""
    generation = Generation(model, request_)
    next(generation)
    next(generation)
    stepped = generation._pipeline
    assert stepped is not None
    assert stepped.block_state is not None
    sigma = float(stepped.components.scheduler.sigmas[stepped.components.scheduler.step_index])
    shape = stepped.block_state.latents.shape
    clean, noise = torch.randn(shape), torch.randn(shape)
    stepped.block_state.latents = (1 - sigma) * clean + sigma * noise
    stepped.block_state.noise_pred = noise - clean
    torch.testing.assert_close(preview.predicted_clean(stepped), clean)


def test_closing_halfway_releases_every_tensor(model, request_):
    gc.collect()
    gc.disable()
    try:
        with Generation(model, request_) as generation:
            next(generation)
            next(generation)
            stepped = generation._pipeline
            assert stepped is not None
            assert stepped.block_state is not None
            left = [weakref.ref(stepped), weakref.ref(stepped.block_state.latents)]
            left.append(weakref.ref(stepped.state.values["prompt_embeds"]))
            del stepped
        assert [ref() for ref in left] == [None, None, None]
    finally:
        gc.enable()


def test_a_closed_generation_says_so(model, request_, tmp_path):
    generation = Generation(model, request_)
    next(generation)
    generation.close()
    assert list(generation) == []
    for ask in (generation.preview, lambda: generation.save_checkpoint(tmp_path / "x.safetensors")):
        with pytest.raises(GenerationError, match="closed"):
            ask()
    with pytest.raises(GenerationError, match="not finished"):
        _ = generation.frames


def test_there_is_no_preview_before_the_first_step(model, request_):
    generation = Generation(model, request_)
    next(generation)
    with pytest.raises(GenerationError, match="before the first step"):
        generation.preview()


def test_running_out_of_memory_is_one_line_that_says_what_to_do(model, request_, monkeypatch):
    def fail(*_args, **_kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    generation = Generation(model, request_)
    next(generation)
    monkeypatch.setattr(model.pipeline.transformer, "forward", fail)
    with pytest.raises(GenerationError, match="ask for a smaller size or fewer frames"):
        next(generation)


def test_a_model_without_first_frames_refuses_one(request_, tmp_path):
    text_only = tiny_model("wan_euler", can_first_frame=True)
    (tmp_path / "first.png").write_bytes(b"x")
    with pytest.raises(RequestError, match="from text only"):
        Generation(text_only, request_.with_(first_frame=tmp_path / "first.png"))


def test_a_file_that_is_not_an_image_is_refused_as_first_frame(request_, tmp_path):
    (tmp_path / "first.png").write_bytes(b"x")
    with pytest.raises(RequestError, match="not an image"):
        Generation(
            tiny_model("wan_image_to_video"),
            request_.with_(first_frame=tmp_path / "first.png"),
        )


def test_timings_count_every_stage(model, request_):
    generation = Generation(model, request_)
    finish(generation)
    timings = generation.timings
    assert len(timings.step_s) == 4
    assert min(timings.encode_s, timings.decode_s, *timings.step_s) > 0
    assert generation.peak_memory_gib > 0


def test_guidance_needs_one_forward_pass_per_step_and_two_where_exact_or_large(
    request_, monkeypatch
):
    def num_forwards(**how):
        counted = tiny_model("wan_euler", num_steps=3)
        calls = []
        counted.pipeline.transformer.register_forward_pre_hook(lambda *_: calls.append(1))
        finish(Generation(counted, request_, **how))
        return len(calls)

    assert num_forwards() == 3
    assert num_forwards(exact=True) == 6
    monkeypatch.setattr(guidance, "MAX_LATENT_NUMBERS", 10)
    assert num_forwards() == 6


def test_a_small_clip_of_a_small_model_uses_one_thread_and_others_all(model, request_):
    whole = model.card.complete(request_)
    large_model = replace(model, card=replace(model.card, params_b=1.3))
    large_clip = whole.with_(size=Size(832, 480), num_frames=81)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert choose_num_threads(model, whole) == 1
        assert choose_num_threads(large_model, whole) == 3
        assert choose_num_threads(model, large_clip) == 3
    finally:
        torch.set_num_threads(before)


def test_a_restored_generation_uses_as_many_threads_as_at_its_start(model, request_, tmp_path):
    began = torch.get_num_threads()
    whole = Generation(model, request_, exact=True)
    next(whole)
    whole.save_checkpoint(tmp_path / "x.safetensors")
    torch.set_num_threads(began + 1)
    try:
        restored = Generation.restore(tmp_path / "x.safetensors", model)
        seen = []
        hook_ = model.pipeline.transformer.register_forward_pre_hook(
            lambda *_: seen.append(torch.get_num_threads())
        )
        next(restored)
        hook_.remove()
        assert set(seen) == {began}
        assert torch.get_num_threads() == began + 1
    finally:
        torch.set_num_threads(began)


def test_a_network_that_fails_is_one_line(model, request_, monkeypatch):
    def fail(*_args, **_kwargs):
        raise AssertionError("no order\nand more")

    monkeypatch.setattr(type(model.pipeline.scheduler), "step", fail)
    with (
        pytest.raises(GenerationError, match=r"failed with AssertionError: no order; try other"),
        Generation(model, request_) as generation,
    ):
        list(generation)
