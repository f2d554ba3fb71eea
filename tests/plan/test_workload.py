"""FLOPs compared with calculations by hand and with torch's own counter."""

from dataclasses import replace

import pytest

from reelgrid.plan.facts.architectures import find_architecture
from reelgrid.plan.prediction.workload import forward_flops, workload_of
from reelgrid.spec import Size


def test_wan_14b_at_480p_is_1_676e15_flops_a_forward_as_by_hand():
    tokens = 21 * 30 * 52  # (81 - 1) / 4 + 1 latent frames of 480 / 16 by 832 / 16
    weights = 40 * (4 * 5120**2 + 2 * 5120**2 + 2 * 5120 * 13824)
    linear = 2 * weights * tokens
    attention = 4 * tokens**2 * 5120 * 40 + 4 * tokens * 512 * 5120 * 40
    assert tokens == 32_760
    forward = forward_flops(find_architecture("wan2.1-t2v-14b"), Size(832, 480), 81)
    assert forward.linear == linear
    assert forward.attention == attention
    assert forward.total == pytest.approx(1.676e15, rel=1e-3)
    clip = workload_of(find_architecture("wan2.1-t2v-14b"), size=Size(832, 480))
    assert clip.flops == pytest.approx(100 * forward.total)


def test_joint_attention_counts_text_as_tokens():
    tokens, text, width, layers = 33 * 45 * 80, 256, 3072, 60
    forward = forward_flops(find_architecture("hunyuanvideo"), Size(1280, 720), 129)
    both = tokens + text
    assert forward.linear == 2 * (layers * 12 * width**2) * both
    assert forward.attention == 4 * both**2 * width * layers


@pytest.mark.parametrize(
    ("model", "size", "frames", "tokens"),
    [
        ("cogvideox-5b", "720x480", 49, 17_550),
        ("cogvideox1.5-5b", "1360x768", 81, 44_880),
        ("hunyuanvideo", "1280x720", 129, 118_800),
        ("open-sora-2", "1024x576", 129, 76_032),
        ("step-video-t2v", "992x544", 204, 75_888),
        ("step-video-t2v", "992x544", 136, 50_592),
        ("cosmos-predict2-2b", "1280x704", 93, 84_480),
        ("ltx-2", "1280x704", 121, 14_080),
        ("flux.1-dev", "1024x1024", 1, 4_096),
    ],
)
def test_tokens_are_those_of_the_published_table(model, size, frames, tokens):
    assert find_architecture(model).video_tokens(Size.parse(size), frames) == tokens


def test_linear_attention_grows_with_the_tokens_not_their_square():
    model = find_architecture("sana1.5-1.6b")
    small, large = (forward_flops(model, Size(side, side), 1).attention for side in (1024, 2048))
    assert large == pytest.approx(4 * small)


@pytest.fixture(scope="module")
def counted():
    """Return FLOPs of one forward by torch's counter, without memory: on the meta device."""
    torch = pytest.importorskip("torch")
    diffusers = pytest.importorskip("diffusers")
    from torch.utils.flop_counter import FlopCounterMode

    def empty(*shape):
        return torch.empty(shape, dtype=torch.bfloat16, device="meta")

    def count(network, **inputs):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(timestep=torch.empty((1,), device="meta"), **inputs)
        return counter.get_total_flops()

    def make(name, **config):
        with torch.device("meta"):
            return getattr(diffusers, name)(**config).to(torch.bfloat16)

    return make, count, empty


def test_the_counter_agrees_on_wan_14b(counted):
    make, count, empty = counted
    flops = count(
        make("WanTransformer3DModel", num_layers=8),
        hidden_states=empty(1, 16, 21, 60, 104),
        encoder_hidden_states=empty(1, 512, 4096),
    )
    model = replace(find_architecture("wan2.1-t2v-14b"), layers=8)
    assert forward_flops(model, Size(832, 480), 81).total == pytest.approx(flops, rel=0.005)


def test_the_counter_agrees_on_cogvideox_5b(counted):
    make, count, empty = counted
    flops = count(
        make("CogVideoXTransformer3DModel", num_attention_heads=48, num_layers=8),
        hidden_states=empty(1, 13, 16, 60, 90),
        encoder_hidden_states=empty(1, 226, 4096),
    )
    model = replace(find_architecture("cogvideox-5b"), layers=8)
    assert forward_flops(model, Size(720, 480), 49).total == pytest.approx(flops, rel=0.005)
