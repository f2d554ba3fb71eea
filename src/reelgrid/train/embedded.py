"""Trains the embedded model from scratch: codec, corpus, transformer with text encoder, export.

A run is resumed from the files in its folder: `codec.pt`, `corpus/`, `flow.pt`, `curve.json` and
`curve.svg`, contact sheets `sheet-*.png`, `decoder.pt`, and finally `model/` in diffusers' layout.
"""

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from PIL import Image

from reelgrid.models.embedded.codec import GroupCodec
from reelgrid.models.embedded.folder import write_folder
from reelgrid.train.codec_training import finetune_decoder, load_codec, train_codec
from reelgrid.train.corpus import SIDE, Corpus, extend_corpus
from reelgrid.train.flow import SHIFT, FlowRun
from reelgrid.train.flow_model import CONFIG, FlowModel
from reelgrid.train.sampling import contact_sheet, sample, to_pixels

CODEC_SHARE = 0.14  # of the time budget
DECODER_SHARE = 0.10
FIRST_CLIPS = 2_048  # in the corpus before the transformer is trained
SHEET_EVERY = 500  # steps
_PROMPTS = tuple(
    f"a {size} {colour} {shape} {moves} {where}"
    for size, colour, shape, moves, where in (
        ("large", "red", "ball", "rolls to the right", "in a studio"),
        ("small", "blue", "star", "rises", "at night"),
        ("large", "green", "triangle", "bounces", "in the snow"),
        ("medium", "yellow", "ring", "circles", "on a meadow"),
        ("large", "pink", "box", "grows", "in the desert"),
        ("medium", "cyan", "cross", "moves to the left", "at night"),
    )
)


def train_embedded(
    folder: Path, *, minutes: float, device: str = "cpu", num_clips: int = 40_000, seed: int = 0
) -> Iterator[str]:
    """Start or resume training and write the model.

    Args:
        folder: Folder of the run; created if missing.
        minutes: Time budget of codec and transformer together, over all calls on this folder.
        device: Device to compute on.
        num_clips: Size of the corpus, about 15 KB each on disk.
        seed: Seed of everything that is drawn.

    Yields:
        Lines of progress.

    Raises:
        ModelError: A file of the run is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    yield from train_codec(folder, minutes=minutes * CODEC_SHARE, device=device, seed=seed)
    codec = load_codec(folder)
    run = FlowRun(
        folder,
        _new_model(codec, folder, device, seed),
        minutes=minutes * (1 - CODEC_SHARE - DECODER_SHARE),
        seed=seed,
    )
    corpus = Corpus(folder / "corpus")
    with _extending_corpus(folder, num_clips, seed):
        for line in run.train(corpus):
            yield line
            if run.step % SHEET_EVERY == 0:
                yield f"wrote {_write_sheet(folder, run, codec)}"
    yield from finetune_decoder(folder, minutes=minutes * DECODER_SHARE, device=device, seed=seed)
    yield f"wrote {_write_sheet(folder, run, load_codec(folder))}"
    yield f"wrote {write_model(folder)}"


def _new_model(codec: GroupCodec, folder: Path, device: str, seed: int) -> FlowModel:
    extend_corpus(folder / "corpus", codec, num_clips=FIRST_CLIPS, seed=seed)
    mean, std = Corpus(folder / "corpus").statistics(FIRST_CLIPS)
    with torch.no_grad():
        gap = codec.encode_groups(torch.zeros(1, 12, SIDE, SIDE))[:, :, None]
    torch.manual_seed(seed)
    return FlowModel(mean, std, gap, **CONFIG).to(device)


@contextmanager
def _extending_corpus(folder: Path, num_clips: int, seed: int) -> Iterator[None]:
    """Draw more clips in another process of low priority meanwhile."""
    process = multiprocessing.get_context("spawn").Process(
        target=_extend_in_background, args=(folder, num_clips, seed), daemon=True
    )
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def _extend_in_background(folder: Path, num_clips: int, seed: int) -> None:
    os.nice(10)
    torch.set_num_threads(1)
    extend_corpus(folder / "corpus", load_codec(folder), num_clips=num_clips, seed=seed)


def _averaged(average: dict[str, torch.Tensor]) -> FlowModel:
    """Return a model with averaged weights, on the CPU."""
    model = FlowModel(average["mean"], average["std"], average["gap"], **CONFIG)
    model.load_state_dict(average)
    return model.cpu().eval().requires_grad_(False)


def _write_sheet(folder: Path, run: FlowRun, codec: GroupCodec) -> Path:
    """Write a contact sheet: six fixed prompts from fixed noise, one row each."""
    model = _averaged(run.average)
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(len(_PROMPTS), codec.config.z_dim, 5, SIDE // 16, SIDE // 16, generator=rng)
    videos = to_pixels(codec, sample(model, list(_PROMPTS), noise=noise, shift=SHIFT))
    path = folder / f"sheet-{run.step:06}.png"
    Image.fromarray(contact_sheet(videos).numpy()).save(path)
    return path


def write_model(folder: Path) -> Path:
    """Write the averaged weights of a run as `model/`, for `reelgrid generate --model`."""
    model = _averaged(
        torch.load(folder / "flow.pt", weights_only=True, map_location="cpu")["average"]
    )
    _neutralise_unknown_word(model)
    write_folder(
        folder / "model",
        transformer=model.transformer,
        text_encoder=model.text_encoder,
        tokenizer=model.tokenizer,
        codec=load_codec(folder),
        mean=model.mean,
        std=model.std,
        shift=SHIFT,
    )
    return folder / "model"


def _neutralise_unknown_word(model: FlowModel) -> None:
    """Give the unknown token, which no training prompt has, the embedding of "the"."""
    tokenizer = model.tokenizer
    table = model.text_encoder.get_input_embeddings().weight
    with torch.no_grad():
        table[tokenizer.unk_token_id] = table[tokenizer.convert_tokens_to_ids("the")]
