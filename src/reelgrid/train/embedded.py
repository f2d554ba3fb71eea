"""The embedded model from nothing: codec, corpus, transformer with text encoder, folder.

Everything a run has made lies in its folder and is taken up from there: `codec.pt`, `corpus/`,
`flow.pt`, `flow.json` and `.svg`, contact sheets `sheet-*.png`, `decoder.pt`, and at the end `model/` in
diffusers' layout.
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
from reelgrid.train.codec_training import load_codec, polish_decoder, train_codec
from reelgrid.train.corpus import SIDE, Corpus, grow
from reelgrid.train.flow import SHIFT, FlowRun
from reelgrid.train.flow_model import CONFIG, FlowModel
from reelgrid.train.sampling import contact_sheet, sample, to_pixels

CODEC_SHARE = 0.14  # of the time
DECODER_SHARE = 0.10
FIRST_CLIPS = 2_048  # before the transformer begins
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
    """Train, or go on training, and write the model.

    Args:
        folder: The run's own; created if it is missing.
        minutes: Budget of codec and transformer together, over all calls for this folder.
        device: Where to compute.
        num_clips: Size of the corpus, about 15 KB each on disk.
        seed: Of everything that is drawn.

    Yields:
        Lines of progress.

    Raises:
        ModelError: A file of the run is broken.
    """
    folder.mkdir(parents=True, exist_ok=True)
    yield from train_codec(folder, minutes=minutes * CODEC_SHARE, device=device, seed=seed)
    codec = load_codec(folder)
    run = FlowRun(
        folder,
        _new_student(codec, folder, device, seed),
        minutes=minutes * (1 - CODEC_SHARE - DECODER_SHARE),
        seed=seed,
    )
    corpus = Corpus(folder / "corpus")
    with _growing(folder, num_clips, seed):
        for line in run.train(corpus):
            yield line
            if run.step % SHEET_EVERY == 0:
                yield f"wrote {_write_sheet(folder, run, codec)}"
    yield from polish_decoder(folder, minutes=minutes * DECODER_SHARE, device=device, seed=seed)
    yield f"wrote {_write_sheet(folder, run, load_codec(folder))}"
    yield f"wrote {write_model(folder)}"


def _new_student(codec: GroupCodec, folder: Path, device: str, seed: int) -> FlowModel:
    grow(folder / "corpus", codec, num_clips=FIRST_CLIPS, seed=seed)
    mean, std = Corpus(folder / "corpus").statistics(FIRST_CLIPS)
    with torch.no_grad():
        gap = codec.encode_groups(torch.zeros(1, 12, SIDE, SIDE))[:, :, None]
    torch.manual_seed(seed)
    return FlowModel(mean, std, gap, **CONFIG).to(device)


@contextmanager
def _growing(folder: Path, num_clips: int, seed: int) -> Iterator[None]:
    """Let another process draw more clips meanwhile, with what the training leaves of the machine."""
    process = multiprocessing.get_context("spawn").Process(
        target=_grow_gently, args=(folder, num_clips, seed), daemon=True
    )
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def _grow_gently(folder: Path, num_clips: int, seed: int) -> None:
    os.nice(10)
    torch.set_num_threads(1)
    grow(folder / "corpus", load_codec(folder), num_clips=num_clips, seed=seed)


def _averaged(folder_student: FlowModel, average: dict[str, torch.Tensor]) -> FlowModel:
    """A copy of a student with its averaged weights, on the CPU."""
    student = FlowModel(folder_student.mean, folder_student.std, folder_student.gap, **CONFIG)
    student.load_state_dict(average)
    return student.cpu().eval().requires_grad_(False)


def _write_sheet(folder: Path, run: FlowRun, codec: GroupCodec) -> Path:
    """Draw the same six prompts from the same noise, a row each."""
    student = _averaged(run.student, run.average)
    rng = torch.Generator().manual_seed(0)
    noise = torch.randn(len(_PROMPTS), codec.config.z_dim, 5, SIDE // 16, SIDE // 16, generator=rng)
    videos = to_pixels(codec, sample(student, list(_PROMPTS), noise=noise, shift=SHIFT))
    path = folder / f"sheet-{run.step:06}.png"
    Image.fromarray(contact_sheet(videos).numpy()).save(path)
    return path


def write_model(folder: Path) -> Path:
    """Write what a run has learned so far as `model/`, ready for `reelgrid generate --model`."""
    state = torch.load(folder / "flow.pt", weights_only=True, map_location="cpu")["average"]
    student = FlowModel(state["mean"], state["std"], state["gap"], **CONFIG)
    student.load_state_dict(state)
    _pass_over_unknown_words(student)
    write_folder(
        folder / "model",
        transformer=student.transformer,
        text_encoder=student.text_encoder,
        tokenizer=student.tokenizer,
        codec=load_codec(folder),
        mean=student.mean,
        std=student.std,
        shift=SHIFT,
    )
    return folder / "model"


def _pass_over_unknown_words(student: FlowModel) -> None:
    """Give the unknown word, which no training prompt has, the meaning of a word without one."""
    tokenizer = student.tokenizer
    table = student.text_encoder.get_input_embeddings().weight
    with torch.no_grad():
        table[tokenizer.unk_token_id] = table[tokenizer.convert_tokens_to_ids("the")]
