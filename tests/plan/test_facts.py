"""GPUs, models, latencies, prices and churn as dated rows, and a user's own over them."""

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
def test_a_memory_that_the_card_does_not_have_is_not_overlooked(name):
    with pytest.raises(RequestError, match="no GPU is called"):
        find_gpu(name, read_hardware())


def test_a_twin_is_a_row_with_the_same_rates():
    hardware = read_hardware()
    for gpu in hardware.values():
        twin = hardware[gpu.chip]
        assert twin.dense_tflops == gpu.dense_tflops
        assert (twin.chip, twin.generation) == (twin.name, gpu.generation)


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
    with pytest.raises(RequestError, match="RTX 5081: memory_gb is empty"):
        read_hardware([path])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,tdp\nL40S,300\n", "unknown column 'tdp', expected name"),
        ("vendor,tdp_w\nnvidia,300\n", "column 'name' is missing"),
        ("name,tdp_w\nL40S\n", "line 2: not as many cells"),
        ("name,tdp_w\n,300\n", "the name is empty"),
        ("name,tdp_w\nL40S,-3\n", "tdp_w is '-3', expected a number above 0"),
        ("name,tdp_w\nL40S,lots\n", "tdp_w is 'lots'"),
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


def test_the_users_data_folder_is_looked_into(tmp_path):
    assert user_files(tmp_path, "gpus.csv") == ()
    (tmp_path / "facts").mkdir()
    (tmp_path / "facts" / "gpus.csv").write_text("name,tdp_w\nL4,70\n")
    assert read_hardware(user_files(tmp_path, "gpus.csv"))["L4"].tdp_w == 70


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


def test_a_model_of_ones_own_is_described_in_a_small_file(tmp_path):
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
        (("layers = 20", "layer = 20"), "unknown key 'layer'; did you mean layers"),
        (("layers = 20", ""), "the key 'layers' is missing"),
        (("layers = 20", "layers = 20.5"), "layers is 20.5, expected a whole number above 0"),
        (("layers = 20", "layers = true"), "layers is True, expected a whole number"),
        (("layers = 20", "layers = -1"), "layers is -1"),
        (("fps = 24", "fps = nan"), "fps is nan, expected a number above 0"),
        (('"joint"', '"sparse"'), "attention is 'sparse', expected joint or cross or linear"),
        (('"640x384"', '"640"'), "is not WIDTHxHEIGHT"),
        (("[my-model]", "colour = 3\n[my-model]"), "stands alone, expected a table"),
        (("[my-model]", "[my-model"), "mine.toml: "),
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
