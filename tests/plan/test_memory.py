"""Memory by closed form, and the order of the measures that make it fit."""

import pytest

from reelgrid.plan.facts.architectures import find_architecture
from reelgrid.plan.facts.hardware import find_gpu, read_hardware
from reelgrid.plan.prediction.memory import activations_gib, decoder_gib, memory_need
from reelgrid.plan.prediction.workload import workload_of
from reelgrid.spec import Size
from reelgrid.units import GIB

CLIP = workload_of(find_architecture("wan2.1-t2v-14b"), size=Size(832, 480))


def need(gpu, num_gpus=1, workload=CLIP):
    return memory_need(workload, find_gpu(gpu, read_hardware()), num_gpus)


def test_weights_are_two_bytes_per_parameter_of_all_parts():
    answer, offload = need("h100")
    assert answer.weights_gib == pytest.approx((14.29 + 5.68 + 0.13) * 2e9 / GIB)
    assert offload == ""
    assert answer.total_gib == answer.weights_gib + answer.activations_gib


def test_activations_and_decoder_by_hand():
    tokens = 32_760 + 512
    assert activations_gib(CLIP) == pytest.approx(tokens * 2 * (8 * 5120 + 2 * 13824) / GIB)
    assert decoder_gib(CLIP) == pytest.approx(832 * 480 * 4 * 2048 / GIB)


def test_parts_are_loaded_one_after_the_other_before_weights_are_streamed():
    assert need("L40S")[1] == ""
    assert need("A100 40GB")[1] == "once"
    assert need("4090")[1] == "steps"
    assert "one after the other" in need("A100 40GB")[0].offload
    assert "every step" in need("4090")[0].offload


def test_two_experts_count_twice():
    moe = workload_of(find_architecture("wan2.2-t2v-a14b"), size=Size(832, 480))
    gap = need("h200", workload=moe)[0].weights_gib - need("h200")[0].weights_gib
    assert gap == pytest.approx(14.29 * 2e9 / GIB)


def test_several_gpus_share_the_tokens_and_if_need_be_the_weights():
    alone, shared = need("h100")[0], need("h100", 8)[0]
    assert shared.activations_gib == pytest.approx(alone.activations_gib / 8)
    assert "FSDP" in need("4090", 8)[0].offload
    assert need("4090", 8)[0].fits


def test_what_does_not_fit_in_any_way_is_marked():
    huge = workload_of(find_architecture("wan2.1-t2v-14b"), size=Size(4096, 4096), num_frames=401)
    answer, _ = need("T4", workload=huge)
    assert not answer.fits
    assert answer.total_gib > answer.usable_gib
