"""Checkpoints: complete, verified, and refused with one line that names the mistake."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from reelgrid.engine import checkpoint
from reelgrid.engine.generation import Generation
from reelgrid.engine.snapshot import TreeDecoder, TreeEncoder, UnencodableError
from reelgrid.errors import CheckpointError, GenerationError
from tests.families.tiny import tiny_model


@pytest.fixture
def saved(model, request_, tmp_path):
    path = tmp_path / "half.safetensors"
    generation = Generation(model, request_)
    for _ in range(3):
        next(generation)
    generation.save_checkpoint(path)
    return path


def rewrite(path, change):
    """Write the file again with `change(header, tensors)` applied, as an attacker would."""
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["reelgrid"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(header, tensors)
    save_file(tensors, path, metadata={"reelgrid": json.dumps(header)})


def test_a_restored_generation_has_its_request_and_timings(model, request_, saved):
    generation = Generation.restore(saved, model)
    assert generation.request == model.card.complete(request_)
    done = next(generation)
    assert (done.stage, done.step, done.num_steps) == ("denoise", 3, 4)
    assert len(generation.timings.step_s) == 3


def test_the_request_is_read_without_the_model(model, request_, saved):
    assert checkpoint.read_request(saved) == ("wan_unipc", model.card.complete(request_))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.999])
def test_a_truncated_file_is_refused(model, saved, share):
    whole = saved.read_bytes()
    saved.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(CheckpointError, match="truncated or not a checkpoint"):
        Generation.restore(saved, model)


def test_foreign_files_are_refused(model, tmp_path):
    for name, content in (("text", b"hello"), ("zeros", bytes(100)), ("png", b"\x89PNG" * 50)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match="not a checkpoint"):
            Generation.restore(tmp_path / name, model)
    save_file({"x": torch.ones(2)}, tmp_path / "weights", metadata={"reelgrid": "[]"})
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        Generation.restore(tmp_path / "weights", model)
    with pytest.raises(CheckpointError, match="does not exist"):
        Generation.restore(tmp_path / "nothing", model)


def flip_a_bit(header, tensors):
    name = next(n for n, t in tensors.items() if n.endswith("latents") and t.dim() == 5)
    tensors[name].view(torch.int32).reshape(-1)[5] ^= 1


def rename_a_tensor(header, tensors):
    tensors["block.other"] = tensors.pop(next(iter(tensors)))


def skip_a_step(header, tensors):
    header["position"]["step"] += 1


def change_the_prompt(header, tensors):
    header["request"]["prompt"] = "something else"


@pytest.mark.parametrize("change", [flip_a_bit, rename_a_tensor, skip_a_step, change_the_prompt])
def test_a_tampered_file_is_refused(model, saved, change):
    rewrite(saved, change)
    with pytest.raises(CheckpointError, match="checksum"):
        Generation.restore(saved, model)


@pytest.mark.parametrize("name", ["reelgrid-generation-1", "reelgrid-checkpoint-9"])
def test_a_checkpoint_of_another_version_is_refused_in_one_line(model, saved, name):
    rewrite(saved, lambda header, _: header.update(format=name))
    for read in (lambda path: Generation.restore(path, model), checkpoint.read_request):
        with pytest.raises(CheckpointError, match=f"has format {name}, .* start the .* again$"):
            read(saved)


def test_a_checkpoint_of_another_model_is_refused(saved):
    with pytest.raises(CheckpointError, match="other weights or settings"):
        Generation.restore(saved, tiny_model("wan_euler"))


def test_one_changed_weight_changes_the_fingerprint(model, saved):
    other = tiny_model("wan_unipc")
    assert other.fingerprint == model.fingerprint
    changed = tiny_model("wan_unipc")
    changed.pipeline.transformer.proj_out.weight.data += 1e-3
    with pytest.raises(CheckpointError, match="other weights or settings"):
        Generation.restore(saved, changed)


@pytest.mark.parametrize("name", ["torch", "diffusers", "reelgrid", "device", "precision"])
def test_other_software_is_refused_by_name(model, saved, monkeypatch, name):
    here = dict(checkpoint.current_software(model.device, model.dtype)) | {name: "0.1-other"}
    monkeypatch.setattr("reelgrid.engine.generation.current_software", lambda *_: here)
    with pytest.raises(CheckpointError, match=f"was made with {name} .* here is 0.1-other"):
        Generation.restore(saved, model)


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_file(
    model, request_, saved, monkeypatch
):
    before = saved.read_bytes()

    def fail(*_args, **_kwargs):
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(OSError, match="No space left"):
        Generation(model, request_).save_checkpoint(saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


def test_a_snapshot_does_not_change_with_later_steps(model, request_, tmp_path):
    generation = Generation(model, request_)
    for _ in range(3):
        next(generation)
    generation.save_checkpoint(tmp_path / "at_once")
    snapshot = generation.snapshot()
    overwrite_everything(generation)
    next(generation)
    checkpoint.write_checkpoint(tmp_path / "later", snapshot)
    assert (tmp_path / "later").read_bytes() == (tmp_path / "at_once").read_bytes()


def overwrite_everything(generation):
    """Overwrite tensors, as a network or solver that works in place could."""
    passage = generation._open_pipeline()
    solver = passage.components.scheduler
    with torch.inference_mode():
        for owner in (passage.state.values, vars(passage.block_state), vars(solver)):
            for value in owner.values():
                for tensor in value if isinstance(value, list | tuple) else (value,):
                    if isinstance(tensor, torch.Tensor) and tensor.is_floating_point():
                        tensor.fill_(0.5)
    generation.timings.step_s.append(1.0)


def test_latents_are_kept_in_float32(saved):
    with safe_open(saved, framework="pt") as file:
        latents = [n for n in file.keys() if n.endswith("latents")]  # noqa: SIM118
        assert latents
        assert {file.get_slice(n).get_dtype() for n in latents} == {"F32"}


def test_a_tensor_that_occurs_twice_is_stored_once(saved):
    with safe_open(saved, framework="pt") as file:
        tensors = [file.get_tensor(n) for n in file.keys()]  # noqa: SIM118
    large = [t for t in tensors if t.numel() > 500]
    for i, one in enumerate(large):
        assert not any(torch.equal(one, other) for other in large[:i] if one.shape == other.shape)


def test_a_value_that_cannot_be_stored_is_refused_with_its_path(model, request_, tmp_path):
    generation = Generation(model, request_)
    next(generation)
    generation._open_pipeline().state.values["strange"] = object()
    with pytest.raises(GenerationError, match=r"values\.strange is a object"):
        generation.save_checkpoint(tmp_path / "x.safetensors")


VALUES = {
    "float": 0.1 + 0.2,
    "none": None,
    "nested": [1, (2.5, "three", [True])],
    3: {"numbered": -1},
    "dtype": torch.bfloat16,
    "device": torch.device("cpu"),
    "bf16": torch.randn(3, 5).bfloat16(),
    "channels_last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "expanded": torch.randn(3, 1).expand(3, 4),
    "empty": torch.zeros(0, 2),
    "scalar": torch.tensor(7),
    "array": np.arange(6).reshape(2, 3),
    "numpy_float": np.float64(0.25),
}


@pytest.mark.parametrize("name", VALUES)
def test_every_kind_of_value_is_decoded_unchanged(name):
    value = VALUES[name]
    encoder = TreeEncoder({})
    text = json.dumps(encoder.encode(value, "x"))
    back = TreeDecoder(encoder.tensors, {}, torch.device("cpu")).decode(json.loads(text))
    if isinstance(value, torch.Tensor):
        assert back.dtype == value.dtype
        assert torch.equal(back, value)
        if 0 not in value.stride():
            assert back.stride() == value.stride()
    elif isinstance(value, np.ndarray):
        np.testing.assert_array_equal(back, value)
    else:
        assert back == value


def test_generators_images_and_components_are_decoded():
    generator = torch.Generator().manual_seed(4)
    torch.randn(3, generator=generator)
    image = Image.new("RGB", (4, 2), (1, 2, 3))
    network = torch.nn.Linear(1, 1)
    encoder = TreeEncoder({"network": network})
    tree = encoder.encode({"g": generator, "i": image, "n": network}, "x")
    assert not any("network" in name for name in encoder.tensors)
    back = TreeDecoder(encoder.tensors, {"network": network}, torch.device("cpu")).decode(tree)
    assert back["n"] is network
    assert back["i"].tobytes() == image.tobytes()
    assert torch.equal(torch.randn(5, generator=back["g"]), torch.randn(5, generator=generator))


def test_an_unknown_object_is_refused():
    with pytest.raises(UnencodableError, match="here is a set"):
        TreeEncoder({}).encode({1, 2}, "here")
