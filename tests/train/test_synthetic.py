"""Synthetic clips: the drawing, and the combinations that are kept from training."""

from collections import Counter

import torch

from reelgrid.train import detection, synthetic
from reelgrid.train.synthetic import SyntheticClip


def clips(num, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return [synthetic.draw_clip(rng) for _ in range(num)]


def test_a_clip_is_always_rendered_the_same():
    drawn = clips(3)
    first, _ = synthetic.render(drawn, side=64, num_frames=5)
    again, _ = synthetic.render(drawn[::-1], side=64, num_frames=5)
    assert torch.equal(first, again.flip(0))


def test_a_slice_of_frames_equals_these_frames_of_the_clip():
    clip = clips(1)
    whole, coverage = synthetic.render(clip, side=64, num_frames=17)
    part, part_cover = synthetic.render(clip, side=64, num_frames=17, frames=slice(5, 9))
    assert torch.equal(part, whole[:, :, 5:9])
    assert torch.equal(part_cover, coverage[:, :, 5:9])


def test_an_object_covers_the_area_of_its_shape():
    ball = SyntheticClip("red", "ball", "still", "studio", "large")
    box = SyntheticClip("red", "box", "still", "studio", "large")
    _, coverage = synthetic.render([ball, box], side=128, num_frames=1)
    radius = synthetic.RADII["large"]
    areas = coverage.mean((1, 2, 3, 4))
    expected = torch.tensor([torch.pi * radius**2, (2 * 0.88 * radius) ** 2])
    assert torch.allclose(areas, expected, rtol=0.01)


def test_opposite_motions_are_mirror_images_in_time():
    time, reach = torch.linspace(0, 1, 9), torch.tensor(1.1)
    pairs: tuple[tuple[synthetic.Motion, synthetic.Motion], ...]
    pairs = (("right", "left"), ("up", "down"), ("grow", "shrink"))
    for one, other in pairs:
        there = synthetic.trajectory(one, time, reach)
        back = synthetic.trajectory(other, time, reach)
        assert all(
            torch.allclose(a, b.flip(0), atol=1e-6) for a, b in zip(there, back, strict=True)
        )


def test_held_out_combinations_are_a_tenth_and_spread_over_all_values():
    triples = [
        (c, s, m) for c in synthetic.COLOURS for s in synthetic.SHAPES for m in synthetic.MOTIONS
    ]
    held = [combination for combination in triples if synthetic.is_held_out(combination)]
    assert len(held) == len(triples) // 10
    for place, values in enumerate((synthetic.COLOURS, synthetic.SHAPES, synthetic.MOTIONS)):
        counts = Counter(combination[place] for combination in held)
        assert set(counts) == set(values)
        assert max(counts.values()) <= 2 * min(counts.values())


def test_detection_is_right_on_98_percent_of_rendered_clips():
    drawn = clips(100, seed=1)
    rows = []
    for clip in drawn:
        video, _ = synthetic.render([clip], side=128, num_frames=17)
        rows.append(detection.detect(video[0]).matches(clip))
    assert detection.mean_score(rows)["all"] >= 0.98


def test_an_empty_scene_has_no_object():
    empty = synthetic.background("meadow", 128)[:, None].expand(3, 17, 128, 128)
    detected = detection.detect(empty)
    assert detected == detection.Detection(None, None, None, "meadow")


def test_a_view_of_one_frame_is_detected_like_the_same_frames_in_memory(monkeypatch):
    """The median of torch 2.13 reads uninitialised memory if a dimension is expanded."""
    looked_at = []
    find = detection._find_scene

    def find_and_note(video):
        looked_at.append(video)
        return find(video)

    monkeypatch.setattr(detection, "_find_scene", find_and_note)
    frame = synthetic.background("meadow", 128)
    detection.detect(frame[:, None].expand(3, 17, 128, 128))
    assert torch.equal(looked_at[0].median(1).values, frame)


def test_a_motion_is_detected_by_its_path_and_shuffled_frames_have_none():
    clip = SyntheticClip("red", "ball", "right", "studio", "medium")
    video, _ = synthetic.render([clip], side=128, num_frames=17)
    order = torch.randperm(17, generator=torch.Generator().manual_seed(0))
    assert detection.detect(video[0]).motion == "right"
    assert detection.detect(video[0].flip(1)).motion == "left"
    assert detection.detect(video[0, :, order]).motion is None
