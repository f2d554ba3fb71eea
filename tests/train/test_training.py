"""Parts of the training against closed forms, and a whole run on a tiny corpus."""

import itertools
import random
from functools import partial
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
from reelgrid.train import codec_training, embedded, flow, muon, synthetic, time_budget
from reelgrid.train.corpus import Corpus, extend_corpus
from reelgrid.train.flow import write_curve
from reelgrid.train.flow_model import FlowModel
from reelgrid.train.muon import Muon, orthogonal
from reelgrid.train.time_budget import TimeBudget


def test_muon_updates_have_nearly_equal_singular_values():
    rng = torch.Generator().manual_seed(0)
    for shape in ((32, 96), (96, 32)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape, generator=rng)))
        assert values.min() > 0.6
        assert values.max() < 1.3


def test_muon_minimises_a_quadratic():
    weight = torch.nn.Parameter(torch.ones(4, 4) * 3)
    optimiser = Muon([weight], lr=0.1)
    for _ in range(200):
        weight.grad = 2 * (weight.detach() - torch.eye(4))
        optimiser.step()
    assert (weight - torch.eye(4)).abs().max() < 0.3


def test_the_learning_rate_warms_up_stays_and_decays_to_zero():
    budget = TimeBudget(minutes=10, decay=0.4, warm_up=100)
    assert budget.learning_rate_factor(0) == pytest.approx(0.01)
    assert budget.learning_rate_factor(500) == 1
    budget.spent_s = 480  # 8 of 10 minutes: half of the decay
    assert budget.learning_rate_factor(500) == pytest.approx(0.5)
    budget.spent_s = 600
    assert budget.learning_rate_factor(500) == 0
    assert budget.is_over


def test_noise_levels_are_shifted_towards_noise():
    levels = flow.draw_noise_levels(20_000, torch.Generator().manual_seed(0))
    assert 0 < levels.min() < levels.max() < 1
    # Median of the logit-normal is 1/2, shifted by 3: 3/4.
    assert levels.median() == pytest.approx(0.75, abs=0.01)


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(0)
    return GroupCodec(wide=16, deep=16).eval()


def test_a_corpus_is_extended_and_contains_nothing_held_out(codec, tmp_path):
    extend_corpus(tmp_path, codec, num_clips=8, seed=0, batch=4)
    first = Corpus(tmp_path)._latents.copy()
    extend_corpus(tmp_path, codec, num_clips=12, seed=0, batch=4)
    corpus = Corpus(tmp_path)
    assert corpus.num_clips == 12
    assert (corpus._latents[:8] == first).all()
    for row in corpus._properties:
        named: dict[str, Any] = dict(corpus._names(row))
        assert not synthetic.is_held_out(synthetic.SyntheticClip(**named).combination)


def test_a_loss_curve_is_drawn_from_its_first_point_to_its_last(tmp_path):
    write_curve(tmp_path / "curve.svg", [1, 2, 4], [10.0, 10.0, 10.0 / 3])
    picture = ElementTree.parse(tmp_path / "curve.svg").getroot()
    line = picture.find("{http://www.w3.org/2000/svg}polyline")
    assert line is not None
    points = [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
    assert [x for x, _ in points] == [48 + 704 / 4, 48 + 704 / 2, 48 + 704]
    assert points[0][1] == points[1][1] == 48  # the highest loss, twice
    assert points[2][1] == 400 - 48  # the lowest


def test_batches_are_the_same_for_the_same_seed_and_some_prompts_are_empty(codec, tmp_path):
    extend_corpus(tmp_path, codec, num_clips=8, seed=0, batch=8)
    corpus = Corpus(tmp_path)
    one = corpus.draw(64, random.Random(3), skip=0.0, drop_prompt=0.5)
    other = corpus.draw(64, random.Random(3), skip=0.0, drop_prompt=0.5)
    assert one.prompts == other.prompts
    assert torch.equal(one.latents, other.latents)
    assert 10 < one.prompts.count("") < 54


def test_a_perfect_network_has_no_loss(codec, tmp_path):
    extend_corpus(tmp_path, codec, num_clips=8, seed=0, batch=8)
    corpus = Corpus(tmp_path)
    model = FlowModel(*corpus.statistics(), torch.zeros(1, 24, 1, 8, 8), num_layers=1)
    batch = corpus.draw(4, random.Random(0), skip=0.0, drop_prompt=0.0)
    clean = model.normalise(batch.latents)

    def oracle(seen, timestep, text, return_dict):
        level = (timestep / 1000)[:, None, None, None, None]
        return ((seen[:, :24].float() - clean) / level,)

    loss = flow.flow_loss(model, oracle, batch, torch.Generator().manual_seed(0))
    assert loss < 1e-3


@pytest.fixture
def small_run(monkeypatch):
    """Make the recipe small enough for a test, without the compiler; a step takes 0.25 s."""
    clock = itertools.count(step=0.25)
    monkeypatch.setattr(time_budget, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(torch, "compile", lambda network: network)
    monkeypatch.setattr(embedded, "FIRST_CLIPS", 16)
    monkeypatch.setattr(
        embedded, "CONFIG", {"num_attention_heads": 1, "num_layers": 1, "ffn_dim": 64}
    )
    monkeypatch.setattr(codec_training, "GroupCodec", partial(GroupCodec, wide=16, deep=16))
    monkeypatch.setattr(muon, "orthogonal", torch.nn.functional.normalize)  # slow on a CPU
    monkeypatch.setattr(flow, "BATCH", 4)
    monkeypatch.setattr(codec_training, "BATCH", 4)
    monkeypatch.setattr(
        codec_training, "measure_fidelity", lambda _: SimpleNamespace(frame_db=0, object_db=0)
    )


def test_a_run_is_resumed_and_ends_in_a_model_that_generates(small_run, tmp_path):
    list(embedded.train_embedded(tmp_path, minutes=0.05, num_clips=16))
    assert num_steps(tmp_path) == 10 + 2  # 2.28 s, and two steps with compiling do not count
    lines = list(embedded.train_embedded(tmp_path, minutes=0.1, num_clips=16))
    assert num_steps(tmp_path) == 12 + 9 + 2
    assert lines[-1].endswith("model")
    assert list(tmp_path.glob("sheet-*.png"))
    model = load_model(str(tmp_path / "model"), dtype="float32")
    frames = [frames_of(model, f"{word} red ball") for word in ("the", "gargantuan")]
    assert frames[0].shape == (17, 128, 128, 3)
    assert (frames[0] == frames[1]).all(), "an unknown word has no effect"


def num_steps(folder):
    return torch.load(folder / "flow.pt", weights_only=True)["step"]


def frames_of(model, prompt):
    with Generation(model, Request(prompt=prompt, num_steps=2)) as generation:
        list(generation)
        return generation.frames


def test_a_damaged_checkpoint_is_refused_in_one_line(small_run, tmp_path):
    (tmp_path / "codec.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(ModelError, match=r"codec\.pt is not a checkpoint"):
        list(embedded.train_embedded(tmp_path, minutes=0.01))
