"""The embedded model's own classes: words, codec, transformer."""

import random
from typing import Any

import pytest
import torch

from reelgrid.models.embedded import GroupCodec, PlacedWanTransformer3DModel, words
from reelgrid.models.embedded.codec import group_frames, ungroup_frames
from reelgrid.models.embedded.text import MAX_TOKENS, build_tokenizer


def described(num, seed=0, skip=0.0):
    rng = random.Random(seed)
    tables = {
        "colour": words.COLOURS,
        "shape": words.NOUNS,
        "motion": words.MOTIONS,
        "scene": words.SCENES,
        "size": words.SIZES,
    }
    for _ in range(num):
        clip: dict[str, Any] = {name: rng.choice(list(table)) for name, table in tables.items()}
        yield clip, words.describe(**clip, rng=rng, skip=skip)


def test_every_prompt_that_is_trained_on_is_known_and_fits():
    tokenizer = build_tokenizer()
    for _, prompt in described(3_000, skip=0.1):
        tokens = tokenizer(prompt).input_ids
        assert tokenizer.unk_token_id not in tokens, prompt
        assert len(tokens) <= MAX_TOKENS
        assert words.notices(prompt) == ()


def test_a_prompt_names_every_property_unless_one_is_skipped():
    for clip, prompt in described(500):
        assert any(word in prompt for word in words.COLOURS[clip["colour"]])
        assert any(word in prompt for word in words.SCENES[clip["scene"]])


def test_a_direction_given_by_word_order_is_replaced_by_simpler_words():
    tokenizer = build_tokenizer()
    plain = {"from left to right": "to the right", "from the Top to the bottom": "downwards"}
    for phrase, same in plain.items():
        assert (
            tokenizer(f"a star moves {phrase}").input_ids
            == tokenizer(f"a star moves {same}").input_ids
        )


def test_a_notice_names_the_words_that_are_unknown_and_some_that_are_known():
    (notice,) = words.notices("A red DRAGON flies over Paris, to the right")
    assert "'dragon'" in notice
    assert "'paris'" in notice
    assert "'red'" not in notice
    assert "triangle" in notice


def test_capitals_and_punctuation_do_not_change_the_tokens():
    tokenizer = build_tokenizer()
    plain = tokenizer("a red ball rolls to the right").input_ids
    assert tokenizer("A Red Ball, rolls to the right!").input_ids == plain


def test_grouping_frames_can_be_undone():
    video = torch.rand(2, 3, 9, 32, 48)
    groups = group_frames(video)
    assert groups.shape == (2, 3, 12, 32, 48)
    assert torch.equal(ungroup_frames(groups), video)


@pytest.mark.parametrize("shape", [(1, 3, 4, 32, 32), (1, 3, 5, 40, 32)])
def test_the_codec_refuses_frames_that_it_cannot_group(shape):
    with pytest.raises(ValueError, match=r"4n\+1 frames"):
        group_frames(torch.zeros(shape))


def test_the_codec_gives_each_group_the_same_latents_alone_or_among_others():
    torch.manual_seed(0)
    codec = GroupCodec(wide=8, deep=8).eval()
    video = torch.rand(1, 3, 9, 32, 32)
    whole = codec.encode(video, return_dict=False)[0].mode()
    first = codec.encode(video[:, :, :1], return_dict=False)[0].mode()
    assert whole.shape == (1, 24, 3, 2, 2)
    assert torch.allclose(first, whole[:, :, :1], atol=1e-6)
    assert codec.decode(whole, return_dict=False)[0].shape == video.shape


def tiny_transformer():
    torch.manual_seed(0)
    return PlacedWanTransformer3DModel(
        num_attention_heads=2, attention_head_dim=12, text_dim=16, ffn_dim=32, num_layers=1
    ).eval()


def test_a_first_frame_that_is_not_given_counts_as_zeros():
    network, noise = tiny_transformer(), torch.randn(1, 24, 5, 8, 8)
    more = {"timestep": torch.tensor([500.0]), "encoder_hidden_states": torch.randn(1, 4, 16)}
    padded = torch.cat([noise, torch.zeros(1, 28, 5, 8, 8)], dim=1)
    with torch.inference_mode():
        assert torch.equal(network(noise, **more).sample, network(padded, **more).sample)


def test_the_network_depends_on_absolute_positions():
    network = tiny_transformer()
    alike = torch.ones(1, 24, 5, 8, 8)
    more = {"timestep": torch.tensor([500.0]), "encoder_hidden_states": torch.randn(1, 4, 16)}
    with torch.inference_mode():
        seen = network(alike, **more).sample
        network.patch_embedding.place.zero_()
        blind = network(alike, **more).sample
    assert seen[..., 0, :].sub(seen[..., 6, :]).abs().max() > 1e-3
    assert blind[..., 0, :].sub(blind[..., 6, :]).abs().max() < 1e-4
