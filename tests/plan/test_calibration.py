"""The calibration: a refit gives the package's file, and the errors that the benchmark reports."""

import dataclasses
import hashlib
import json
import math
from pathlib import Path

import numpy as np
import pytest
from benchmarks.prediction import SEALED, SOURCE, not_fitted, through_predict

from reelgrid.plan import facts
from reelgrid.plan.facts.architectures import find_architecture
from reelgrid.plan.facts.hardware import read_hardware
from reelgrid.plan.prediction import cross_validation as check
from reelgrid.plan.prediction.calibration import read_calibration
from reelgrid.plan.prediction.fit import case_of, fit, to_json, training_set
from reelgrid.plan.prediction.formula import Case, Design, gradient
from reelgrid.plan.prediction.observations import Stack, read_ml_energy
from reelgrid.plan.prediction.power import fit_power, read_power
from reelgrid.plan.prediction.workload import workload_of
from reelgrid.plan.uncertainty import Z_80
from reelgrid.spec import Size

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def fitted():
    return training_set()


@pytest.fixture(scope="module")
def calibration(fitted):
    """A new fit."""
    filed = read_calibration()
    return fit(
        fitted,
        date=filed.date,
        widening=filed.widening,
        widening_unspecified=filed.widening_unspecified,
    )


SOURCES = ("LightX2V", "Wan2.1", "cosmos-predict2", "sglang", "xDiT")
GPUS = ("A100 80GB SXM", "H20", "H200 SXM", "RTX 5090")
"""The folds that the suite leaves out; the benchmark leaves out all."""


@pytest.fixture(scope="module")
def by_source(fitted):
    return check.leave_out(fitted, check.source_of, folds=SOURCES)


@pytest.fixture(scope="module")
def by_gpu(fitted):
    return check.leave_out(fitted, check.gpu_of, folds=GPUS)


@pytest.fixture(scope="module")
def results():
    """The results of the benchmark with every source and every GPU left out."""
    return json.loads((BENCHMARKS / "results" / "2026-11-29_prediction.json").read_text())


def test_the_packages_coefficients_are_those_of_a_refit(calibration, results):
    assert results["widening"] == read_calibration().widening
    assert (
        results["widening without kernel and software"] == read_calibration().widening_unspecified
    )
    again = json.loads(to_json(calibration, fit_power(read_ml_energy()), SOURCE))
    filed = json.loads(facts.read_text("calibration.json"))
    assert again.keys() == filed.keys()
    assert again["native_share"] == pytest.approx(filed["native_share"], abs=1e-3)
    for key in ("names", "date", "source"):
        assert again[key] == filed[key]
    assert again["tau"] == pytest.approx(filed["tau"], abs=2e-3)
    for key in ("mean", "covariance", "sigma", "widening"):
        np.testing.assert_allclose(again[key], filed[key], atol=2e-3, err_msg=key)
    for key in ("idle", "busy", "sigma"):
        assert again["power"][key] == pytest.approx(filed["power"][key], abs=1e-3)


def test_the_same_observations_give_the_same_fit(fitted, calibration):
    other = fit(fitted, date="")
    np.testing.assert_array_equal(calibration.mean, other.mean)
    np.testing.assert_array_equal(calibration.covariance, other.covariance)


def test_the_gradient_is_that_of_the_formula(fitted):
    names = (*read_calibration().names, "group:ml-energy/leaderboard flux.1-dev")
    x = np.append(read_calibration().mean, 0.1)
    design = Design.of([case_of(each) for each in fitted], names)
    _, slopes = gradient(x, design)
    for index in range(x.size):
        ahead, behind = x.copy(), x.copy()
        ahead[index] += 1e-4
        behind[index] -= 1e-4
        central = (design.log_seconds(ahead) - design.log_seconds(behind)) / 2e-4
        np.testing.assert_allclose(slopes[:, index], central, atol=1e-4)


def test_sources_left_out_are_within_ten_percent(by_source):
    errors = check.errors(by_source)
    assert errors.count == 107
    assert errors.median <= 0.125
    assert errors.p90 <= 0.42
    assert 0.75 <= errors.coverage <= 0.95


def test_gpus_left_out_are_within_twenty_percent(by_gpu):
    errors = check.errors(by_gpu)
    assert errors.count == 44
    assert errors.median <= 0.20
    assert errors.p90 <= 0.40
    assert 0.75 <= errors.coverage <= 1.0


def test_the_folds_of_the_suite_have_the_errors_of_the_benchmark(by_source, results):
    filed = {each["name"]: each for each in results["leave out sources"]["points"]}
    for each in by_source:
        if each.observation.name in filed:
            relative = filed[each.observation.name]["relative_error"]
            assert each.relative_error == pytest.approx(relative, abs=5e-3)


@pytest.mark.parametrize("left_out", ["leave out sources", "leave out GPUs"])
def test_eighty_percent_intervals_cover_about_eighty_percent(results, left_out):
    for words in ("kernel and software given", "kernel and software not given"):
        for group in ("all published", "video", "several GPUs", "GPU not seen"):
            assert 0.75 <= results[left_out][words][group]["coverage"] <= 0.97, (words, group)


def test_the_sealed_points_have_errors_as_small_as_cross_validation_says():
    whole = [each for each in not_fitted(SEALED[1]) if each.is_whole]
    for asked in (whole, [check.without_stack_details(each) for each in whole]):
        errors = through_predict(asked)
        assert errors["count"] == 11
        assert errors["median"] <= 0.15
        assert errors["coverage"] >= 0.8


def test_no_sealed_point_is_fitted_to_and_former_test_points_are_marked(fitted):
    known = {
        (each.workload.model.name, each.stack.gpu.name, each.stack.num_gpus, each.seconds)
        for each in fitted
    }
    for each in not_fitted(SEALED[1]):
        one = (each.workload.model.name, each.stack.gpu.name, each.stack.num_gpus, each.seconds)
        assert one not in known
    once = [each.held_out for each in fitted]
    assert (once.count("check"), once.count("first seal")) == (63, 48)


def test_no_latency_is_published_twice(fitted):
    published = [
        (each.workload, each.stack.gpu.name, each.stack.num_gpus, each.stack.kernel, each.seconds)
        for each in fitted
        if not each.name.startswith("e")
    ]
    assert all(published.count(each) == 1 for each in published)


def test_a_fold_does_not_reach_its_own_prediction(fitted, by_source):
    fold = "xDiT"
    kept = [each for each in fitted if check.source_of(each) != fold]
    own = [
        dataclasses.replace(each, seconds=each.seconds * 100)
        for each in fitted
        if check.source_of(each) == fold
    ]
    elsewhere = check.guess(fit(kept, date=""), kept, own)
    through = [each for each in by_source if check.source_of(each.observation) == fold]
    assert len(through) == 27
    for one, other in zip(elsewhere, through, strict=True):
        assert one.log_error + math.log(100) == pytest.approx(other.log_error, abs=1e-9)


def test_errors_and_widening_by_hand():
    observation = training_set()[0]
    guesses = [
        check.Guess(
            observation=observation,
            log_error=math.log(1 + error),
            sigma=0.1,
            is_stack_seen=True,
            is_gpu_seen=True,
        )
        for error in (0.05, -0.05, 0.1, 0.3, 0.0)
    ]
    errors = check.errors(guesses)
    assert errors.median == pytest.approx(0.05)
    assert errors.coverage == pytest.approx(0.8)
    assert errors.bias == pytest.approx(0.05)
    assert check.widening(guesses) == pytest.approx(math.log(1.3) / 0.1 / Z_80)


def test_a_larger_gpu_of_a_generation_is_not_slower():
    mean = read_calibration()
    pcie, nvl = (read_hardware()[name] for name in ("H100 PCIe", "H100 NVL"))
    work = training_set()[0].workload
    for kernel in ("portable", "native"):
        slow, fast = (
            mean.time(Case(work, Stack(gpu=gpu, kernel=kernel)))[0] for gpu in (pcie, nvl)
        )
        assert fast <= slow


@pytest.mark.parametrize(("name", "count"), list(zip(SEALED, [1, 11], strict=True)))
def test_the_sealed_points_are_those_that_were_sealed(name, count):
    """The fit now uses all of the first sealed set except one figure from hearsay."""
    filed = BENCHMARKS / "results" / f"2026-11-23_{Path(name).stem}.json"
    text = (BENCHMARKS / name).read_bytes()
    assert json.loads(filed.read_text())["sha256"] == hashlib.sha256(text).hexdigest()
    assert len(not_fitted(name)) == count


def case(model, gpu="H100 SXM", **stack):
    work = workload_of(find_architecture(model))
    return Case(work, Stack(gpu=read_hardware()[gpu], kernel="portable", **stack))


def test_more_gpus_streamed_weights_and_images_have_wider_intervals():
    calibration = read_calibration()
    alone, eight = (
        calibration.time(case("wan2.1-t2v-14b", software="xdit", num_gpus=n))[1] for n in (1, 8)
    )
    assert eight > alone
    certain = dataclasses.replace(calibration, tau={**calibration.tau, "parallel": 0.0})
    sure = certain.time(case("wan2.1-t2v-14b", software="xdit", num_gpus=8))[1]
    assert eight**2 - sure**2 == pytest.approx((3 * calibration.tau["parallel"]) ** 2)
    streamed = case("wan2.1-t2v-14b", software="xdit", offload="steps")
    assert calibration.time(streamed)[1] > alone + 0.05
    assert calibration.time(case("flux.1-dev", software="xdit"))[1] > alone + 0.05


def test_fused_software_is_faster_on_images_and_an_unknown_one_lies_between():
    calibration = read_calibration()
    eager, unknown, fused = (
        calibration.time(case("sd3.5-large", software=software))
        for software in ("unheard-of eager one", None, "vllm-omni")
    )
    assert fused[0] < unknown[0]
    assert eager == unknown


def test_the_longer_of_computing_and_launching_counts():
    calibration = read_calibration()
    card = "H200 SXM"
    tiny, small = (
        calibration.time(
            Case(
                workload_of(find_architecture("flux.1-dev"), size=Size(side, side), num_steps=100),
                Stack(gpu=read_hardware()[card], kernel="portable", software="xdit"),
            )
        )[0]
        for side in (64, 256)
    )
    assert small - tiny < math.log(1.5)  # 16 times the pixels: the GPU waits for the CPU


def test_without_a_kernel_the_software_weighs_portable_and_native():
    shares = read_calibration().native_share
    assert shares["software:xdit"] < 0.2 < 0.5 < shares["software:sglang"]
    for software in ("xdit", "sglang"):
        likely, portable, native = (
            read_calibration().time(
                dataclasses.replace(
                    each, stack=dataclasses.replace(each.stack, kernel=kernel, software=software)
                )
            )[0]
            for each in [case("hunyuanvideo")]
            for kernel in (None, "portable", "native")
        )
        share = shares[f"software:{software}"]
        assert likely == pytest.approx((1 - share) * portable + share * native)


def test_a_gpu_with_the_rates_of_another_is_as_fast_and_uses_its_own_link():
    calibration = read_calibration()
    h100, h800 = (
        [calibration.time(case("wan2.1-t2v-14b", gpu, num_gpus=n)) for n in (1, 8)]
        for gpu in ("H100 SXM", "H800 SXM")
    )
    assert h800[0] == pytest.approx(h100[0])
    assert h800[1][0] > h100[1][0]


def test_offloaded_parts_load_faster_from_pinned_memory():
    calibration = read_calibration()
    eager, unknown, engine = (
        calibration.time(case("flux.2-dev", software=software, offload="once"))
        for software in ("diffusers", None, "sglang")
    )
    assert engine[0] < unknown[0] < eager[0]
    assert unknown[1] > max(eager[1], engine[1])


def test_power_is_a_share_of_the_limit():
    power = read_power()
    assert 0.2 < power.idle < power.busy <= 1.0
    assert power.watts(700, 2, 1.0) == pytest.approx(1400 * power.busy)
    assert power.sigma_of("L4") > power.sigma_of("H100 SXM")


def test_the_kernel_of_a_model_is_the_one_it_is_published_with():
    calibration = read_calibration()
    gpu = read_hardware()["H100 SXM"]
    assert calibration.native_share["cosmos-predict2-2b"] > 0.8
    assert calibration.native_share["hunyuanvideo"] < 0.3
    for model in ("cosmos-predict2-2b", "hunyuanvideo"):
        work = next(o.workload for o in training_set() if o.workload.model.name == model)
        portable, native, unknown = (
            calibration.time(Case(work, Stack(gpu=gpu, kernel=kernel)))[0]
            for kernel in ("portable", "native", None)
        )
        assert native < unknown < portable
        assert (unknown - native < portable - unknown) == (model == "cosmos-predict2-2b")
