"""What checkpoints cost a generation whose state is as large as a large model's.

    python benchmarks/checkpoints.py [--minutes 1.5] [--threads 1] [--write]

The networks are tiny and random; latents and text are those of Wan 2.1 at 832x480, 81 frames. So the
state is as large as with 14 billion parameters. The script measures the parts of a checkpoint, then
generations with a checkpoint every 5 seconds and without checkpoints, alternating; the result is the
median. Processor time includes the writing; use it if other processes are busy.
`--write` writes the result to `benchmarks/results/` under today's date.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import diffusers
import torch
import transformers
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers

from engine import CHECKPOINT_EVERY_S, RESULTS, machine, quiet_loops, result_name, timed_s
from reelgrid.catalog import ModelCard, ModelDefaults
from reelgrid.engine import checkpoint
from reelgrid.engine.checkpointer import Checkpointer
from reelgrid.engine.generation import Generation
from reelgrid.models.loading import LoadedModel
from reelgrid.spec import Request, Size

NUM_PAIRS = 3
NUM_SAVES = 7
WORDS = ("[PAD]", "[UNK]", "a", "red", "ball", "rolls", "to", "the", "right")


def large_state_model() -> LoadedModel:
    """Wan 2.1's blocks, solver, text width and latents, with almost no network between them."""
    width = {"d_model": 4096, "d_kv": 8, "d_ff": 64, "num_layers": 1, "num_heads": 4}
    pipeline = diffusers.WanBlocks().init_pipeline()
    pipeline.update_components(
        text_encoder=transformers.UMT5EncoderModel(
            transformers.UMT5Config(vocab_size=len(WORDS), **width)
        ),
        tokenizer=tokenizer(),
        # Patches of 4x4 instead of 2x2: a step takes less than a second, and the latents are the same.
        transformer=diffusers.WanTransformer3DModel(
            patch_size=(1, 4, 4),
            num_attention_heads=1,
            attention_head_dim=12,
            text_dim=4096,
            freq_dim=32,
            ffn_dim=32,
            num_layers=1,
        ),
        vae=diffusers.AutoencoderKLWan(base_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1),
        scheduler=diffusers.UniPCMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
        ),
    )
    card = ModelCard(
        name="wan-2.1-sized-state",
        repository=None,
        kind="video",
        licence="none",
        params_b=0.0,
        download_gib=0.0,
        memory_gib=0.0,
        default=ModelDefaults(
            size=Size(832, 480), num_frames=81, fps=16.0, num_steps=50, guidance_scale=5.0
        ),
        frames_multiple=4,
        size_multiple=16,
        can_first_frame=False,
        max_sequence_length=512,
    )
    return LoadedModel(card.name, pipeline, card, torch.device("cpu"), torch.float32)


def tokenizer() -> transformers.PreTrainedTokenizerFast:
    words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]"
    )


def time_checkpoint_parts(generation: Generation, folder: Path) -> dict[str, float]:
    """Medians in ms of the parts of a checkpoint; only the snapshot stops the steps."""
    path = folder / "parts.safetensors"
    saved = generation.snapshot()
    header = {"trees": saved.trees}
    parts: dict[str, Callable[[], object]] = {
        "snapshot": generation.snapshot,
        "header": lambda: json.dumps(header, sort_keys=True),
        "sha256": lambda: checkpoint._checksum(header, saved.tensors),
        "write": lambda: save_file(saved.tensors, path),
        "fsync": lambda: sync(path),
        "whole_save": lambda: generation.save_checkpoint(path),
    }
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(NUM_SAVES):
        for name, action in parts.items():
            times[name].append(1e3 * timed_s(action))
    return {f"{name}_ms": round(statistics.median(each), 2) for name, each in times.items()}


def sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def denoise(model: LoadedModel, request: Request, save_into: Path | None) -> dict[str, float]:
    """Run all steps; if a folder is given, save checkpoints as `reelgrid generate` does."""
    stopped_s, num_saves = 0.0, 0
    start, processor_start = time.perf_counter(), time.process_time()
    with Generation(model, request) as generation:
        every_s = CHECKPOINT_EVERY_S if save_into else 1e9
        path = (save_into or Path()) / "checkpoint.safetensors"

        def store(snapshot: checkpoint.Checkpoint, _step: int) -> None:
            checkpoint.write_checkpoint(path, snapshot)

        with Checkpointer(store, lambda _cost_s: every_s) as checkpointer:
            for progress in generation:
                save = partial(checkpointer.save_if_due, generation, progress.step)
                took_s = timed_s(save)
                stopped_s += took_s
                num_saves += took_s > 1e-3
                if progress.step == progress.num_steps:
                    break
            stopped_s += timed_s(checkpointer.wait)
    return {
        "whole_s": time.perf_counter() - start,
        "processor_s": time.process_time() - processor_start,
        "stopped_s": stopped_s,
        "num_saves": num_saves,
    }


def compare(model: LoadedModel, request: Request, folder: Path) -> dict[str, object]:
    sides = {"without": None, "with": folder}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for pair in range(NUM_PAIRS):
        for name in sorted(sides, reverse=pair % 2 == 1):
            runs[name].append(denoise(model, request, sides[name]))
    stopped = [run["stopped_s"] / run["whole_s"] for run in runs["with"]]
    return {
        "pairs": NUM_PAIRS,
        "num_saves": [run["num_saves"] for run in runs["with"]],
        "stopped_share": statistics.median(stopped),
        "wall": added(runs, "whole_s"),
        "processor": added(runs, "processor_s"),
    }


def added(runs: dict[str, list[dict[str, float]]], key: str) -> dict[str, object]:
    median_s = {name: statistics.median(run[key] for run in each) for name, each in runs.items()}
    pairs = zip(runs["with"], runs["without"], strict=True)
    return {
        "median_s": median_s,
        "added_share": median_s["with"] / median_s["without"] - 1,
        "added_share_of_each_pair": [one[key] / other[key] - 1 for one, other in pairs],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    diffusers.utils.logging.set_verbosity_error()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    model = large_state_model()
    quiet_loops(model)
    request = Request("a red ball rolls to the right", seed=1)
    with tempfile.TemporaryDirectory() as name, Generation(model, request) as generation:
        folder = Path(name)
        for _ in range(5):
            next(generation)
        parts = time_checkpoint_parts(generation, folder)
        step_s = statistics.median(generation.timings.step_s)
        num_bytes = (folder / "parts.safetensors").stat().st_size
        num_steps = max(4, round(asked.minutes * 60 / (2 * NUM_PAIRS) / step_s))
        compared = compare(model, request.with_(num_steps=num_steps), folder)
    result = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": model.card.name,
        "request": f"{model.card.default.size} x {model.card.default.num_frames}, {num_steps} steps",
        "machine": machine(model),
        "state_mb": num_bytes / 1e6,
        "step_s": step_s,
        "save": parts,
        "save_stops_steps_share_at_every_5_s": parts["snapshot_ms"] / 1e3 / CHECKPOINT_EVERY_S,
        "generation": compared,
    }
    text = json.dumps(result, indent=2)
    print(text)
    if asked.write:
        day = datetime.now(UTC).date().isoformat()
        path = RESULTS / f"{day}_checkpoints_{result_name(model)}.json"
        path.write_text(text + "\n", encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
