"""Models by name: folders, refusals in one line, cards of what the catalogue does not know."""

import json
import shutil

import pytest
import torch

from reelgrid.engine.generation import Generation
from reelgrid.errors import ModelError, RequestError
from reelgrid.models import loading, source
from reelgrid.models.loading import load_model
from reelgrid.models.placement import (
    GROUP_OFFLOAD,
    FreeMemory,
    check_disk,
    choose_device,
    choose_dtype,
    plan_offload,
)
from reelgrid.models.source import is_pipeline_file
from reelgrid.spec import Request, Size
from reelgrid.units import GIB
from tests.families.tiny import tiny_model


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Local folders in diffusers' layout, one of each kind of family."""
    made = tmp_path_factory.mktemp("models")
    for family in ("wan_euler", "wan_image_to_video", "ltx", "flux"):
        pipeline = tiny_model(family).pipeline
        pipeline.save_pretrained(str(made / family), overwrite_modular_index=True)
    return made


@pytest.fixture
def wan(folders, tmp_path):
    return shutil.copytree(folders / "wan_euler", tmp_path / "wan")


def test_a_local_folder_generates_what_the_pipeline_it_was_saved_from_does(folders):
    loaded = load_model(str(folders / "wan_euler"), dtype="float32")
    request = Request(
        "a red ball", size=Size(32, 32), num_frames=5, num_steps=2, guidance_scale=2.0
    )
    built = tiny_model("wan_euler", max_sequence_length=None)
    frames = []
    for model in (loaded, built):
        generation = Generation(model, request)
        for _ in generation:
            pass
        frames.append(generation.frames)
    assert (frames[0] == frames[1]).all()
    assert loaded.fingerprint == built.fingerprint


@pytest.mark.parametrize(
    ("family", "kind", "frames_multiple", "size_multiple", "can_first_frame"),
    [
        ("wan_euler", "video", 4, 16, False),
        ("wan_image_to_video", "video", 4, 16, True),
        ("ltx", "video", 8, 32, True),
        ("flux", "image", 4, 16, False),
    ],
)
def test_a_model_that_the_catalogue_does_not_know_has_its_repositorys_defaults(
    folders, family, kind, frames_multiple, size_multiple, can_first_frame
):
    card = load_model(str(folders / family)).card
    assert card.kind == kind
    assert card.can_first_frame == can_first_frame
    assert card.size_multiple == size_multiple
    if kind == "video":
        assert card.frames_multiple == frames_multiple
    assert card.complete(Request("a red ball")).size == card.default.size
    with pytest.raises(RequestError, match="nearest"):
        card.complete(Request("a red ball", size=Size(131, 77)))


def test_a_truncated_weights_file_is_named_with_its_sizes(wan):
    weights = next((wan / "transformer").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ModelError, match=r"transformer/.* bytes: download it again"):
        load_model(str(wan))


@pytest.mark.parametrize("part", ["transformer", "text_encoder", "vae"])
def test_a_component_without_weights_is_named(wan, part):
    for file in (wan / part).glob("*.safetensors"):
        file.unlink()
    with pytest.raises(ModelError, match=f"the {part} in .* has no weights: download it again"):
        load_model(str(wan))


def test_a_weights_file_of_something_else_is_named(wan):
    next((wan / "vae").glob("*.safetensors")).write_bytes(b"<html>not found</html>")
    with pytest.raises(ModelError, match="is not a safetensors file"):
        load_model(str(wan))


@pytest.mark.parametrize("part", ["transformer", "text_encoder", "vae"])
def test_a_broken_configuration_names_its_component(wan, part):
    (wan / part / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match=f"the {part} in .* cannot be loaded") as caught:
        load_model(str(wan))
    assert "\n" not in str(caught.value)


def test_an_index_that_names_no_pipeline_is_refused(tmp_path):
    (tmp_path / "model_index.json").write_text('{"_class_name": "Nothing"}', encoding="utf-8")
    with pytest.raises(ModelError, match="diffusers cannot read the pipeline"):
        load_model(str(tmp_path))


def test_a_folder_without_a_model_and_an_unknown_name_are_refused(tmp_path):
    with pytest.raises(ModelError, match=r"is not a model: it has no modular_model_index\.json"):
        load_model(str(tmp_path))
    with pytest.raises(ModelError, match="a folder or a hub id"):
        load_model("nothing")
    with pytest.raises(ModelError, match="a folder or a hub id"):
        load_model(str(tmp_path / "not" / "there"))
    with pytest.raises(ModelError, match=r"did you mean wan2\.1-t2v-1\.3b or wan2\.1-t2v-14b\?"):
        load_model("wan2.1-t2v")
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match="is a file: give the folder"):
        load_model(str(tmp_path / "file"))


def test_only_blocks_of_this_package_are_imported_for_an_index(wan):
    index = json.loads((wan / "modular_model_index.json").read_text(encoding="utf-8"))
    index["_blocks_class_name"] = "os.path.join"
    (wan / "modular_model_index.json").write_text(json.dumps(index), encoding="utf-8")
    assert type(load_model(str(wan)).pipeline._blocks).__name__ == "WanBlocks"


def test_without_a_network_a_hub_model_is_one_line_after_one_attempt(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    asked: list[None] = []

    def fail(*_args, **_kwargs):
        asked.append(None)
        raise OSError("[Errno -2] Name or service not known\nmore")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", fail)
    with pytest.raises(ModelError, match="the hub cannot be reached") as caught:
        load_model("someone/something")
    assert "\n" not in str(caught.value)
    assert len(asked) == 1  # no second attempt


def test_the_refusal_names_the_offline_setting(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="HF_HUB_OFFLINE is set"):
        load_model("wan2.1-t2v-1.3b")


def test_a_model_that_cannot_fit_is_refused_before_any_download(monkeypatch):
    def fetched(*_args, **_kwargs):
        raise AssertionError("fetched")

    monkeypatch.setattr(source, "_files_on_hub", lambda _: {"vae/x.safetensors": 10})
    monkeypatch.setattr("huggingface_hub.snapshot_download", fetched)
    small = FreeMemory(torch.device("cpu"), None, 8 * GIB)
    monkeypatch.setattr(loading, "free_memory", lambda _: small)
    with pytest.raises(ModelError, match=r"needs .* GiB of memory, 8\.0 GiB is free"):
        load_model("wan2.1-t2v-14b")


CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.mark.parametrize(
    ("gpu_gib", "host_gib", "weights_gib", "expected"),
    [
        (24, 64, 19, None),
        (24, 64, 20, GROUP_OFFLOAD),
        (4, 64, 60, GROUP_OFFLOAD),
        (None, 64, 51, None),
    ],
)
def test_weights_that_fit_only_the_host_are_offloaded(gpu_gib, host_gib, weights_gib, expected):
    gpu = None if gpu_gib is None else gpu_gib * GIB
    where = FreeMemory(CPU if gpu is None else CUDA, gpu, host_gib * GIB)
    assert plan_offload("m", weights_gib * GIB, where) == expected


@pytest.mark.parametrize(
    ("gpu_gib", "host_gib", "weights_gib"), [(24, 32, 40), (2, 64, 10), (None, 64, 52)]
)
def test_weights_that_fit_nowhere_are_refused_with_the_sizes(gpu_gib, host_gib, weights_gib):
    gpu = None if gpu_gib is None else gpu_gib * GIB
    where = FreeMemory(CPU if gpu is None else CUDA, gpu, host_gib * GIB)
    with pytest.raises(ModelError, match=rf"{host_gib}\.0 GiB is free"):
        plan_offload("m", weights_gib * GIB, where)


def test_a_download_that_the_disk_cannot_hold_is_refused():
    check_disk("m", GIB, GIB)
    with pytest.raises(ModelError, match=r"download of 2\.0 GiB, 1\.0 GiB of disk is free"):
        check_disk("m", 2 * GIB, GIB)


def test_unknown_devices_and_precisions_are_refused():
    for name in ("tpu", "cuda:99", "cpu:x"):
        with pytest.raises(RequestError, match="no device"):
            choose_device(name)
    with pytest.raises(RequestError, match="no precision"):
        choose_dtype("float4", CPU, is_small=True)


def test_a_large_model_on_a_processor_stays_in_float32():
    assert choose_dtype("auto", CPU, is_small=False) == torch.float32


@pytest.mark.parametrize(
    ("file", "wanted"),
    [
        ("model_index.json", True),
        ("README.md", False),
        ("big_single_file.safetensors", False),
        ("transformer/diffusion_pytorch_model-00001-of-00002.safetensors", True),
        ("transformer/diffusion_pytorch_model.fp16.safetensors", False),
        ("unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors", False),
        ("unet/diffusion_pytorch_model.bin", False),
        ("tokenizer/merges.txt", True),
        ("assets/demo/x.json", False),
    ],
)
def test_only_files_that_loading_reads_are_downloaded(file, wanted):
    assert is_pipeline_file(file) == wanted
