"""GPUs, models, latencies, prices and churn as dated rows; a user's own rows override them."""

import math
import re
from typing import Any

import pytest

from reelgrid import catalog
from reelgrid.errors import RequestError
from reelgrid.plan.facts import user_files
from reelgrid.plan.facts.architectures import find_architecture, read_architectures
from reelgrid.plan.facts.hardware import find_gpu, read_hardware
from reelgrid.plan.facts.rental import read_churn, read_prices
from reelgrid.plan.prediction.observations import kernel_class, read_latencies, read_ml_energy

DATE = re.compile(r"20\d\d(-\d\d)?")


def test_every_row_has_a_source_and_a_date():
    rows: list[Any] = [
        *read_hardware().values(),
        *read_architectures().values(),
        *read_latencies(),
        *read_ml_energy(),
        *read_prices(),
        *read_churn().values(),
    ]
    for row in rows:
        assert row.source, row
        assert DATE.fullmatch(row.date), row


def test_there_are_43_gpus_171_latencies_and_483_measurements_of_energy():
    assert len(read_hardware()) == 43
    assert len(read_latencies()) == 171
    assert len(read_ml_energy()) == 483


def test_the_range_of_prices_is_that_of_the_providers():
    for gpu in read_hardware().values():
        prices = [price.usd_per_h for price in read_prices() if price.gpu == gpu.name]
        assert gpu.usd_per_h_low == (min(prices) if prices else None), gpu.name
        assert gpu.usd_per_h_high == (max(prices) if prices else None), gpu.name


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("4090", "RTX 4090"),
        ("h100", "H100 SXM"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA H200", "H200 SXM"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB SXM"),
        ("NVIDIA A100-SXM4-40GB", "A100 40GB"),
        ("NVIDIA A100 80GB PCIe", "A100 80GB PCIe"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX PRO 6000 Blackwell"),
        ("Tesla V100-SXM2-32GB", "V100 SXM2"),
        ("AMD Instinct MI300X", "MI300X"),
        ("7900xtx", "RX 7900 XTX"),
        ("H100 SXM5 80GB", "H100 SXM"),
        ("NVIDIA A100-SXM-80GB", "A100 80GB SXM"),
        ("NVIDIA A100-SXM-40GB", "A100 40GB"),
        ("AMD Instinct MI300X OAM", "MI300X"),
        ("V100-32GB", "V100 SXM2"),
        ("RTX 4090 24GB", "RTX 4090"),
        ("H200 141GB HBM3e", "H200 SXM"),
        ("NVIDIA H100-SXM5-80GB", "H100 SXM"),
        ("NVIDIA H100 PCIe 80GB", "H100 PCIe"),
        ("H100 NVL 94GB", "H100 NVL"),
        ("H100-80GB", "H100 SXM"),
        ("H100 80GB SXM", "H100 SXM"),
        ("HGX H100", "H100 SXM"),
        ("H800", "H800 SXM"),
        ("NVIDIA A800-SXM4-80GB", "A800 80GB SXM"),
        ("NVIDIA A800 80GB PCIe", "A800 80GB PCIe"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA GeForce RTX 3090 Ti", "RTX 3090 Ti"),
        ("NVIDIA GeForce RTX 4070 Ti SUPER", "RTX 4070 Ti Super"),
        ("NVIDIA B300 SXM6", "B300"),
        ("NVIDIA L40", "L40"),
        ("AMD Radeon RX 9070 XT", "RX 9070 XT"),
    ],
)
def test_a_gpu_is_found_by_what_people_and_drivers_call_it(name, meant):
    assert find_gpu(name, read_hardware()).name == meant


@pytest.mark.parametrize("name", ["RTX 4090 48GB", "H100 40GB", "80GB", "MIG 3g.40gb"])
def test_a_memory_size_that_the_gpu_does_not_have_is_refused(name):
    with pytest.raises(RequestError, match="no GPU is called"):
        find_gpu(name, read_hardware())


def test_a_gpu_is_fitted_as_another_only_with_the_same_rates():
    hardware = read_hardware()
    for gpu in hardware.values():
        other = hardware[gpu.fitted_as]
        assert other.dense_tflops == gpu.dense_tflops
        assert (other.fitted_as, other.generation) == (other.name, gpu.generation)


def test_every_gpu_is_found_by_its_own_name():
    hardware = read_hardware()
    assert all(find_gpu(name, hardware).name == name for name in hardware)


def test_an_unknown_gpu_is_refused_with_the_similar_ones():
    with pytest.raises(RequestError, match=r"4085.*RTX 4080"):
        find_gpu("RTX 4085", read_hardware())


def test_a_users_row_changes_the_cells_it_fills_and_keeps_the_others(tmp_path):
    path = tmp_path / "gpus.csv"
    path.write_text("name,usd_per_h_low,usd_per_h_high,date\nL40S,0.5,0.6,2026-12\n")
    mine, shipped = read_hardware([path])["L40S"], read_hardware()["L40S"]
    assert (mine.usd_per_h_low, mine.usd_per_h_high, mine.date) == (0.5, 0.6, "2026-12")
    assert mine.dense_tflops == shipped.dense_tflops
    assert mine.source == str(path)
    assert shipped.usd_per_h_low == 0.79


def test_a_users_new_gpu_needs_what_a_prediction_needs(tmp_path):
    path = tmp_path / "gpus.csv"
    path.write_text(
        "name,vendor,kind,generation,fp16_dense_tflops\nRTX 5081,nvidia,consumer,x,112\n"
    )
    with pytest.raises(
        RequestError, match=r"gpus.csv:2: expected the key 'memory_gb' \(a number above 0\)"
    ):
        read_hardware([path])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,tdp\nL40S,300\n", ":1: unknown column 'tdp': did you mean 'tdp_w'"),
        ("vendor,tdp_w\nnvidia,300\n", ":2: expected a name in the column 'name'"),
        ("name,tdp_w\nL40S\n", ":2: expected 2 cells, as the first line has, got 1"),
        ("name,tdp_w\n,300\n", ":2: expected a name in the column"),
        ("name,tdp_w\nL40S,-3\n", ":2: tdp_w: expected a number above 0, got '-3'"),
        ("name,tdp_w\nL40S,lots\n", ":2: tdp_w: expected a number above 0, got 'lots'"),
        ("name,tdp_w\nL40S,inf\n", ":2: tdp_w: expected a number above 0, got 'inf'"),
        ("name,tdp_w,tdp_w\nL40S,3,4\n", ":1: the column 'tdp_w' comes twice"),
        ("name,usd_per_h_low,usd_per_h_high\nL40S,3,2\n", "the lowest and the highest"),
    ],
)
def test_a_bad_file_of_gpus_is_refused_with_what_was_expected(tmp_path, text, message):
    path = tmp_path / "gpus.csv"
    path.write_text(text)
    with pytest.raises(RequestError, match=message):
        read_hardware([path])


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(RequestError, match="cannot be read"):
        read_hardware([tmp_path / "none.csv"])


def test_facts_in_the_users_data_folder_are_found(tmp_path):
    assert user_files(tmp_path, "gpus.csv", None) == ()
    (tmp_path / "facts").mkdir()
    (tmp_path / "facts" / "gpus.csv").write_text("name,tdp_w\nL4,70\n")
    assert read_hardware(user_files(tmp_path, "gpus.csv", None))["L4"].tdp_w == 70


def test_every_model_of_the_catalogue_but_the_embedded_one_has_an_architecture():
    for card in catalog.all_models():
        if card.repository:
            model = find_architecture(card.name)
            assert find_architecture(card.repository) is model
            assert model.kind == card.kind


MINE = """
[my-model]
kind = "video"
size = "640x384"
frames = 49
fps = 24
steps = 30
forwards_per_step = 1
params_b = 3.0
layers = 20
width = 2048
heads = 16
attention = "joint"
ffn_width = 8192
text_tokens = 77
vae_space = 8
vae_time = 4
"""


def test_a_users_own_model_is_described_in_a_toml_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    model = find_architecture("my-model", read_architectures([path]))
    assert model.weights_per_token == 20 * 12 * 2048**2
    assert model.source == str(path)


def test_a_known_model_can_be_changed_in_one_key(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('["wan2.1-t2v-14b"]\nsteps = 4\n')
    assert find_architecture("wan-14b", read_architectures([path])).steps == 4
    assert find_architecture("wan-14b").steps == 50


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("layers = 20", "layer = 20"),
            ":10: my-model.layer: unknown key 'layer': did you mean 'layers'",
        ),
        (("layers = 20", ""), ":2: my-model: expected the key 'layers'"),
        (("layers = 20", "layers = 20.5"), "layers: expected a whole number above 0, got 20.5"),
        (("layers = 20", "layers = true"), "layers: expected a whole number above 0, got true"),
        (("layers = 20", "layers = -1"), "layers: expected a whole number above 0, got -1"),
        (("fps = 24", "fps = nan"), "fps: expected a finite number, got nan"),
        (('"joint"', '"sparse"'), "attention: expected one of joint, cross, linear, got 'sparse'"),
        (('"640x384"', '"640"'), "is not WIDTHxHEIGHT"),
        (
            ("[my-model]", "colour = 3\n[my-model]"),
            "colour: expected a table [model-name] around it",
        ),
        (("[my-model]", "[my-model"), "mine.toml:2: expected valid TOML"),
        (("[my-model]", "[my-model]\nname = 'other'"), "unknown key 'name': the heading is"),
    ],
)
def test_a_bad_description_is_refused_with_what_was_expected(tmp_path, change, message):
    path = tmp_path / "mine.toml"
    path.write_text(MINE.replace(*change))
    with pytest.raises(RequestError, match=re.escape(message)):
        read_architectures([path])


def test_kernels_are_known_by_name_and_others_refused():
    assert kernel_class("FA3") == "native"
    assert kernel_class("sdpa") == "portable"
    assert kernel_class(None) is None
    with pytest.raises(RequestError, match="no kernel is called 'magic'"):
        kernel_class("magic")


def test_churn_has_the_measured_figures():
    salad = read_churn()["salad-consumer"]
    assert salad.hazard_per_h == pytest.approx(182 / 100 / 168, rel=0.01)
    assert salad.startup_median_s is not None
    assert salad.startup_sigma is not None
    within_40_min = (math.log(2400 / salad.startup_median_s)) / salad.startup_sigma
    assert within_40_min == pytest.approx(1.2816, abs=0.25)  # "90 % by 40 min"


def test_user_files_of_facts_may_begin_with_a_byte_order_mark(tmp_path):
    gpus, models = tmp_path / "gpus.csv", tmp_path / "models.toml"
    gpus.write_bytes(b"\xef\xbb\xbfname,tdp_w\r\nL4,70\r\n")
    models.write_bytes(b"\xef\xbb\xbf" + MINE.encode())
    assert read_hardware([gpus])["L4"].tdp_w == 70
    assert "my-model" in read_architectures([models])


@pytest.mark.parametrize("name", ["flux.1-dev", "flux-1-dev", "FLUX.1 dev", "Flux1Dev"])
def test_case_and_punctuation_of_a_model_name_do_not_matter(name):
    assert find_architecture(name).name == "flux.1-dev"


def test_the_planner_and_the_catalogue_use_the_same_model_names():
    for card in catalog.all_models():
        if card.repository:
            assert find_architecture(card.name).name == card.name


def test_no_two_architectures_share_a_name_without_its_punctuation():
    models = read_architectures().values()
    own = [
        {re.sub(r"[^a-z0-9]", "", each.lower()) for each in (model.name, *model.aliases)}
        for model in models
    ]
    names = [name for each in own for name in each]
    assert len(set(names)) == len(names)
