"""A refit with the user's own measurements: its errors before and after, and its file."""

import dataclasses
import json
import math
import os

import numpy as np
import pytest

from reelgrid.errors import RequestError
from reelgrid.plan.facts.architectures import find_architecture, read_architectures
from reelgrid.plan.facts.hardware import read_hardware
from reelgrid.plan.prediction import cross_validation
from reelgrid.plan.prediction.calibrate import own_observations, recalibrate
from reelgrid.plan.prediction.calibration import read_calibration
from reelgrid.plan.prediction.fit import fit, to_json, training_set
from reelgrid.plan.prediction.power import read_power
from reelgrid.plan.prediction.predict import predict
from reelgrid.plan.prediction.workload import workload_of
from reelgrid.spec import Size
from tests.plan.test_predict import record

GPU = "NVIDIA GeForce RTX 3090"
FACTOR = 1.5
"""By how much slower than the formula says the machine of these tests is."""


def measured(model, size="832x480", frames=17, steps=10):
    """A measurement on a machine that takes `FACTOR` times the formula's time."""
    side = Size.parse(size)
    work = workload_of(find_architecture(model), size=side, num_frames=frames, num_steps=steps)
    gpu = read_hardware()["RTX 3090"]
    seconds = predict(work, gpu, kernel="sdpa", software="diffusers").seconds.likely * FACTOR
    return record(
        model=model,
        machine=GPU,
        width=side.width,
        height=side.height,
        num_frames=frames,
        num_steps=steps,
        guidance_scale=5.0,
        encode_s=0.1 * seconds,
        denoise_s=0.8 * seconds,
        decode_s=0.1 * seconds,
    )


RECORDS = [
    measured("wan2.1-t2v-1.3b"),
    measured("wan2.1-t2v-1.3b", frames=33),
    measured("ltx-video", size="704x512", frames=41),
    measured("cogvideox-2b", size="720x480", frames=17),
]


def own(records):
    return own_observations(records, read_hardware(), read_architectures())


@pytest.fixture(scope="module")
def published():
    """Few observations, for a fast fit, from several sources."""
    return [each for each in training_set() if each.source_name in {"Wan2.1", "CogVideo"}]


@pytest.fixture(scope="module")
def refit(published):
    return recalibrate(own(RECORDS), date="2026-12-01", published=published)


def test_records_become_one_observation_a_workload_with_the_median_of_its_warm_runs():
    runs = [
        dataclasses.replace(RECORDS[0], run=run, num_runs=4, denoise_s=denoise_s)
        for run, denoise_s in enumerate([99.0, 10.0, 11.0, 30.0], 1)
    ]
    (observation,) = own(runs)
    assert observation.seconds == pytest.approx(RECORDS[0].encode_s + RECORDS[0].decode_s + 11.0)
    assert observation.stack.gpu.name == "RTX 3090"


def test_records_of_processors_and_of_unknown_models_are_left_out():
    foreign = [
        dataclasses.replace(RECORDS[0], machine="2 x AMD EPYC 7B13"),
        dataclasses.replace(RECORDS[0], model="embedded"),
    ]
    assert len(own([*RECORDS, *foreign])) == len(RECORDS)
    with pytest.raises(RequestError, match="got none among 2 records"):
        own(foreign)


def test_a_refit_predicts_a_left_out_model_of_a_slow_machine_better_than_before(refit):
    errors = refit.errors_by_case
    before = errors["your measurements, before"]
    after = errors["your measurements, after"]
    assert before.count == after.count == len(RECORDS)
    assert after.median < 0.7 * before.median
    assert before.bias < after.bias < 0.05


def test_before_is_the_error_of_a_fit_without_any_own_measurement(refit, published):
    alone = cross_validation.guess(fit(published, date=""), published, own(RECORDS))
    assert [each.log_error for each in refit.before] == pytest.approx(
        [each.log_error for each in alone]
    )


def test_after_does_not_see_the_model_that_it_predicts(refit, published):
    slower = [
        dataclasses.replace(each, seconds=each.seconds * 10)
        if each.workload.model.name == "ltx-video"
        else each
        for each in own(RECORDS)
    ]
    other = recalibrate(slower, date="2026-12-01", published=published)
    for one, two in zip(refit.after, other.after, strict=True):
        if one.observation.workload.model.name == "ltx-video":
            assert one.log_error - math.log(10) == pytest.approx(two.log_error, abs=1e-9)


def test_measurements_of_one_model_on_one_gpu_cannot_be_cross_validated(published):
    single = recalibrate(own(RECORDS[:2]), date="2026-12-01", published=published)
    assert single.after == ()
    assert "your measurements, after" not in single.errors_by_case


def test_a_saved_calibration_is_read_back_and_used(refit, tmp_path):
    path = tmp_path / "calibration.json"
    path.write_text(to_json(refit.calibration, read_power(), "a test"))
    mine = read_calibration(path)
    assert mine.names == refit.calibration.names
    np.testing.assert_allclose(mine.mean, refit.calibration.mean, atol=1e-4)
    work = workload_of(find_architecture("wan2.1-t2v-1.3b"), num_frames=49)
    gpu = read_hardware()["RTX 3090"]
    shipped, own_fit = (
        predict(work, gpu, software="diffusers", calibration=each) for each in (None, mine)
    )
    assert own_fit.seconds.likely > 1.15 * shipped.seconds.likely
    assert "refitted with your measurements" in own_fit.basis[0]
    assert "refitted" not in shipped.basis[0]


def test_a_calibration_that_was_written_anew_is_read_anew(refit, tmp_path):
    path = tmp_path / "calibration.json"
    for date, modified_s in (("2026-12-01", 1_000), ("2026-12-02", 2_000)):
        fitted = dataclasses.replace(refit.calibration, date=date)
        path.write_text(to_json(fitted, read_power(), "a test"))
        os.utime(path, (modified_s, modified_s))
        assert read_calibration(path).date == date


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda filed: filed["names"].__setitem__(0, "lineer"), "of this version's formula"),
        (lambda filed: filed["mean"].pop(), "a row of covariance for each name"),
        (lambda filed: filed.pop("tau"), "expected the key 'tau'"),
        (lambda filed: filed.update(sigma="small"), "sigma: expected a number, got 'small'"),
        (lambda filed: filed.update(colour="red"), "unknown key 'colour'"),
    ],
)
def test_a_broken_calibration_file_is_one_line(refit, tmp_path, change, message):
    filed = json.loads(to_json(refit.calibration, read_power(), "a test"))
    change(filed)
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(filed))
    with pytest.raises(RequestError, match=message) as caught:
        read_calibration(path)
    assert str(caught.value).startswith(str(path))
