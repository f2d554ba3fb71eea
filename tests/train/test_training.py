"""The trainers: their parts by closed forms, and a whole run on a tiny corpus."""

import json
import random
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import pytest
import torch

from reelgrid.engine.generation import Generation
from reelgrid.errors import ModelError
from reelgrid.models.embedded import GroupCodec
from reelgrid.models.loading import load_model
from reelgrid.spec import Request
from reelgrid.train import codec_training, embedded, flow, synthetic
from reelgrid.train.corpus import Corpus, grow
from reelgrid.train.flow import write_curve
from reelgrid.train.flow_model import FlowModel
from reelgrid.train.muon import Muon, orthogonal
from reelgrid.train.time_budget import TimeBudget


def test_muon_makes_an_update_of_nearly_equal_singular_values():
    rng = torch.Generator().manual_seed(0)
    for shape in ((32, 96), (96, 32)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape, generator=rng)))
        assert values.min() > 0.6
        assert values.max() < 1.3


def test_muon_finds_the_bottom_of_a_bowl():
    weight = torch.nn.Parameter(torch.ones(4, 4) * 3)
    optimiser = Muon([weight], lr=0.1)
    for _ in range(200):
        weight.grad = 2 * (weight.detach() - torch.eye(4))
        optimiser.step()
    assert (weight - torch.eye(4)).abs().max() < 0.3


def test_the_pace_rises_stays_and_falls_to_nothing():
    clock = TimeBudget(minutes=10, decay=0.4, warm_up=100)
    assert clock.pace(0) == pytest.approx(0.01)
    assert clock.pace(500) == 1
    clock.spent_s = 480  # 8 of 10 minutes: half of the decay
    assert clock.pace(500) == pytest.approx(0.5)
    clock.spent_s = 600
    assert clock.pace(500) == 0
    assert clock.is_over


def test_noise_levels_are_between_clean_and_noise_and_lean_to_noise():
    levels = flow.draw_noise_levels(20_000, torch.Generator().manual_seed(0))
    assert 0 < levels.min() < levels.max() < 1
    # Median of the logit-normal is 1/2, shifted by 3: 3/4.
    assert levels.median() == pytest.approx(0.75, abs=0.01)


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(0)
    return GroupCodec(wide=16, deep=16).eval()


def test_a_corpus_grows_in_parts_and_holds_nothing_held_out(codec, tmp_path):
    grow(tmp_path, codec, num_clips=8, seed=0, batch=4)
    first = Corpus(tmp_path)._latents.copy()
    grow(tmp_path, codec, num_clips=12, seed=0, batch=4)
    corpus = Corpus(tmp_path)
    assert corpus.num_clips == 12
    assert (corpus._latents[:8] == first).all()
    for row in corpus._properties:
        named: dict[str, Any] = dict(corpus._names(row))
        assert not synthetic.is_held_out(synthetic.SyntheticClip(**named).triple)


def test_a_curve_is_drawn_from_its_first_point_to_its_last(tmp_path):
    write_curve(tmp_path / "curve.svg", [1, 2, 4], [10.0, 10.0, 10.0 / 3])
    picture = ElementTree.parse(tmp_path / "curve.svg").getroot()
    line = picture.find("{http://www.w3.org/2000/svg}polyline")
    assert line is not None
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert [x for x, _ in points] == [48 + 704 / 4, 48 + 704 / 2, 48 + 704]
    assert points[0][1] == points[1][1] == 48  # the highest loss, twice
    assert points[2][1] == 400 - 48  # the lowest


def test_batches_are_the_same_for_the_same_seed_and_some_prompts_are_silent(codec, tmp_path):
    grow(tmp_path, codec, num_clips=8, seed=0, batch=8)
    corpus = Corpus(tmp_path)
    one = corpus.draw(64, random.Random(3), skip=0.0, silent=0.5)
    other = corpus.draw(64, random.Random(3), skip=0.0, silent=0.5)
    assert one.prompts == other.prompts
    assert torch.equal(one.latents, other.latents)
    assert 10 < one.prompts.count("") < 54


def test_a_perfect_network_has_no_loss(codec, tmp_path):
    grow(tmp_path, codec, num_clips=8, seed=0, batch=8)
    corpus = Corpus(tmp_path)
    student = FlowModel(*corpus.statistics(), torch.zeros(1, 24, 1, 8, 8), num_layers=1)
    batch = corpus.draw(4, random.Random(0), skip=0.0, silent=0.0)
    clean = student.normalise(batch.latents)

    def oracle(seen, timestep, text, return_dict):
        level = (timestep / 1000)[:, None, None, None, None]
        return ((seen[:, :24].float() - clean) / level,)

    loss = flow.flow_loss(student, oracle, batch, torch.Generator().manual_seed(0))
    assert loss < 1e-3


@pytest.fixture
def small_run(monkeypatch):
    """Make the recipe small enough for a test, and leave the compiler out."""
    monkeypatch.setattr(torch, "compile", lambda network: network)
    monkeypatch.setattr(embedded, "FIRST_CLIPS", 16)
    monkeypatch.setattr(
        embedded, "CONFIG", {"num_attention_heads": 1, "num_layers": 1, "ffn_dim": 64}
    )
    monkeypatch.setattr(flow, "BATCH", 4)
    monkeypatch.setattr(codec_training, "BATCH", 4)
    monkeypatch.setattr(
        codec_training, "measure_fidelity", lambda _: SimpleNamespace(frame_db=0, object_db=0)
    )


@pytest.mark.timeout(120)
def test_a_run_is_taken_up_and_ends_in_a_model_that_generates(small_run, tmp_path):
    list(embedded.train_embedded(tmp_path, minutes=0.02, num_clips=16))
    before = (
        json.loads((tmp_path / "curve.json").read_text())
        if (tmp_path / "curve.json").exists()
        else []
    )
    steps = torch.load(tmp_path / "flow.pt", weights_only=True)["step"]
    lines = list(embedded.train_embedded(tmp_path, minutes=0.04, num_clips=16))
    assert torch.load(tmp_path / "flow.pt", weights_only=True)["step"] > steps > 0
    assert lines[-1].endswith("model")
    assert list(tmp_path.glob("sheet-*.png"))
    assert len(before) < 100
    model = load_model(str(tmp_path / "model"), dtype="float32")
    frames = [frames_of(model, f"{word} red ball") for word in ("the", "gargantuan")]
    assert frames[0].shape == (17, 128, 128, 3)
    assert (frames[0] == frames[1]).all(), "an unknown word counts as one without meaning"


def frames_of(model, prompt):
    with Generation(model, Request(prompt=prompt, num_steps=2)) as generation:
        list(generation)
        return generation.frames


def test_a_broken_checkpoint_is_refused_in_one_line(small_run, tmp_path):
    (tmp_path / "codec.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match=r"codec\.pt is no checkpoint"):
        list(embedded.train_embedded(tmp_path, minutes=0.01))
