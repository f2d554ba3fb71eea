"""Predictions: plausible on every GPU, monotonic; measured, then published, then formula."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reelgrid.errors import RequestError
from reelgrid.measurement import BenchRecord
from reelgrid.plan.facts.architectures import find_architecture, read_architectures
from reelgrid.plan.facts.hardware import find_gpu, read_hardware
from reelgrid.plan.prediction.calibration import read_calibration
from reelgrid.plan.prediction.formula import Case
from reelgrid.plan.prediction.observations import KERNELS, Stack
from reelgrid.plan.prediction.predict import predict
from reelgrid.plan.prediction.workload import check_supported, workload_of
from reelgrid.spec import Size

HARDWARE = read_hardware()
MODELS = read_architectures()
WAN = find_architecture("wan2.1-t2v-14b")

gpus = st.sampled_from(sorted(HARDWARE)).map(HARDWARE.__getitem__)
models = st.sampled_from(sorted(MODELS)).map(MODELS.__getitem__)
kernels = st.sampled_from([None, *sorted(set(KERNELS.values()))])
sizes = st.tuples(st.integers(4, 64), st.integers(4, 64)).map(lambda s: Size(s[0] * 32, s[1] * 32))
EXAMPLES = settings(max_examples=60, deadline=None)


def formula_s(workload, gpu, num_gpus=1, kernel=None):
    stack = Stack(gpu=gpu, num_gpus=num_gpus, kernel=kernel)
    return math.exp(read_calibration().time(Case(workload, stack))[0])


@pytest.mark.parametrize("name", sorted(HARDWARE))
@pytest.mark.parametrize("model", ["wan2.1-t2v-1.3b", "hunyuanvideo", "flux.1-dev"])
def test_every_gpu_has_a_plausible_prediction(name, model):
    gpu = HARDWARE[name]
    answer = predict(workload_of(find_architecture(model)), gpu)
    assert 0.05 < answer.share_of_peak < 0.95
    assert 0 < answer.seconds.low < answer.seconds.likely < answer.seconds.high
    assert answer.seconds.high / answer.seconds.low < 10
    assert 0 < answer.wh.likely <= gpu.tdp_w * answer.seconds.likely / 3600
    assert (answer.usd is None) == (gpu.usd_per_h_low is None)
    assert answer.basis


@EXAMPLES
@given(model=models, gpu=gpus, size=sizes, chunks=st.integers(0, 30), steps=st.integers(1, 100),
       num_gpus=st.sampled_from([1, 2, 4, 8]), kernel=kernels)  # fmt: skip
def test_intervals_are_ordered_and_nothing_beats_the_peak(
    model, gpu, size, chunks, steps, num_gpus, kernel
):
    frames = 1 if model.kind == "image" else max(1, chunks * model.vae_time)
    workload = workload_of(model, size=size, num_frames=frames, num_steps=steps)
    answer = predict(workload, gpu, num_gpus=num_gpus, kernel=kernel)
    for interval in (answer.seconds, answer.wh, answer.usd, answer.minutes_per_gpu_hour):
        if interval is not None:
            assert 0 < interval.low <= interval.likely <= interval.high < math.inf
    assert 0 < answer.share_of_peak <= (2 if kernel == "low-bit" else 1) + 1e-9
    assert answer.memory.total_gib > 0


@EXAMPLES
@given(model=models, gpu=gpus, size=sizes, chunks=st.integers(1, 20), more=st.integers(1, 20),
       kernel=kernels)  # fmt: skip
def test_more_frames_steps_pixels_or_clips_never_take_less_time(
    model, gpu, size, chunks, more, kernel
):
    def seconds(extra_frames=0, extra_steps=0, extra_side=0, batch=1):
        frames = 1 if model.kind == "image" else (chunks + extra_frames) * model.vae_time + 1
        workload = workload_of(
            model,
            size=Size(size.width + 32 * extra_side, size.height),
            num_frames=frames,
            num_steps=10 + extra_steps,
            num_images=batch,
        )
        return formula_s(workload, gpu, kernel=kernel)

    least = seconds()
    assert seconds(extra_frames=more) >= least
    assert seconds(extra_steps=more) > least
    assert seconds(extra_side=more) > least
    assert seconds(batch=1 + more) > least


def test_a_gpu_with_higher_rates_of_the_same_generation_is_never_slower():
    pairs = 0
    for fast in HARDWARE.values():
        for slow in HARDWARE.values():
            if (
                fast.name == slow.name
                or (fast.generation, fast.kind) != (slow.generation, slow.kind)
                or fast.dense_tflops < slow.dense_tflops
                or fast.bandwidth_gb_per_s < slow.bandwidth_gb_per_s
                or fast.tdp_w < slow.tdp_w
            ):
                continue
            pairs += 1
            for kernel in ("portable", "native"):
                for model in ("wan2.1-t2v-1.3b", "wan2.1-t2v-14b", "flux.1-dev"):
                    workload = workload_of(find_architecture(model))
                    ratio = formula_s(workload, fast, kernel=kernel) / formula_s(
                        workload, slow, kernel=kernel
                    )
                    assert ratio <= 1.005, (fast.name, slow.name, kernel, model, ratio)
    assert pairs >= 8


def test_more_gpus_are_faster_and_more_expensive_on_a_large_clip():
    workload = workload_of(WAN)
    gpu = HARDWARE["H100 SXM"]
    answers = [predict(workload, gpu, num_gpus=n, kernel="fa3", software="x") for n in (1, 2, 4, 8)]
    seconds = [answer.seconds.likely for answer in answers]
    assert seconds == sorted(seconds, reverse=True)
    cost = [answer.usd.likely for answer in answers if answer.usd]
    assert len(cost) == 4
    assert cost == sorted(cost)
    assert 0.6 < seconds[0] / seconds[3] / 8 < 0.95


def test_kernels_matter_where_the_gpu_has_its_own_and_not_elsewhere():
    workload = workload_of(WAN)
    for name in ("H100 SXM", "B200", "H20"):
        gpu = HARDWARE[name]
        assert formula_s(workload, gpu, kernel="portable") > 1.1 * formula_s(
            workload, gpu, kernel="native"
        )
    plain = Stack(gpu=HARDWARE["L40S"], kernel="portable", software="x")
    own = Stack(gpu=HARDWARE["L40S"], kernel="native", software="x")
    both = [read_calibration().time(Case(workload, stack))[0] for stack in (plain, own)]
    assert both[0] == pytest.approx(both[1], rel=0.02)


def test_the_interval_is_wider_for_an_unseen_gpu_and_for_an_unknown_kernel():
    calibration, workload = read_calibration(), workload_of(WAN)

    def sigma(name, kernel):
        return calibration.time(Case(workload, Stack(gpu=HARDWARE[name], kernel=kernel)))[1]

    assert sigma("MI355X", "native") > 1.3 * sigma("H100 SXM", "native")
    assert sigma("H100 SXM", None) > 1.3 * sigma("H100 SXM", "native")


def test_a_gpu_without_bf16_runs_in_fp16_with_a_remark():
    for name, tflops in (("T4", 65), ("V100 SXM2", 125)):
        gpu = HARDWARE[name]
        assert gpu.dense_tflops == tflops
        answer = predict(workload_of(find_architecture("wan2.1-t2v-1.3b")), gpu)
        assert any("no bf16" in line for line in answer.basis)


def test_what_does_not_fit_is_flagged():
    huge = workload_of(WAN, size=Size(4096, 4096), num_frames=401)
    answer = predict(huge, HARDWARE["T4"])
    assert not answer.memory.fits
    assert any("does not fit" in line for line in answer.basis)


def test_minutes_per_gpu_hour_are_clip_over_gpu_time():
    answer = predict(workload_of(WAN), HARDWARE["H100 SXM"], num_gpus=8)
    clip_min, gpu_h = 81 / 16 / 60, 8 * answer.seconds.likely / 3600
    assert answer.minutes_per_gpu_hour is not None
    assert answer.minutes_per_gpu_hour.likely == pytest.approx(clip_min / gpu_h)


def test_energy_is_near_what_was_measured_per_clip():
    """ML.ENERGY v3 on one H100: 18, 80 and 323 Wh."""
    for model, size, wh in (
        ("wan2.1-t2v-1.3b", "832x480", 18),
        ("wan2.1-t2v-14b", "832x480", 80),
        ("hunyuanvideo", "1280x720", 323),
    ):
        workload = workload_of(find_architecture(model), size=Size.parse(size))
        answer = predict(workload, HARDWARE["H100 SXM"], kernel="sdpa", software="xdit")
        assert answer.wh.low < wh < answer.wh.high
        assert answer.wh.likely == pytest.approx(wh, rel=0.2)


def record(**changes):
    values = {
        "measured_at": "2026-11-20T10:00:00+00:00",
        "machine": "NVIDIA L40S, 16 x some processor",
        "device": "cuda:0",
        "dtype": "bfloat16",
        "software": {"torch": "2.13.0"},
        "model": "wan2.1-t2v-14b",
        "width": 832,
        "height": 480,
        "num_frames": 81,
        "fps": 16.0,
        "num_steps": 50,
        "guidance_scale": 5.0,
        "run": 2,
        "num_runs": 2,
        "load_s": 60.0,
        "encode_s": 1.0,
        "denoise_s": 1990.0,
        "step_s": (39.8,) * 50,
        "decode_s": 9.0,
        "peak_memory_gib": 45.0,
    }
    return BenchRecord(**{**values, **changes})


SMALL = workload_of(WAN, size=Size(832, 480))
L40S = HARDWARE["L40S"]


def test_the_users_own_measurement_takes_precedence():
    answer = predict(SMALL, L40S, measurements=[record()])
    assert answer.seconds.likely == pytest.approx(2000.0)
    assert answer.basis[0].startswith("measured on NVIDIA L40S")
    assert answer.sigma < 0.05 < predict(SMALL, L40S).sigma


def test_a_measurement_takes_precedence_over_a_published_latency():
    mine = record(machine="NVIDIA H100 80GB HBM3", denoise_s=590.0)
    workload = workload_of(WAN)
    gpu = HARDWARE["H100 SXM"]
    assert predict(workload, gpu).basis[0].startswith("published")
    assert predict(workload, gpu, measurements=[mine]).basis[0].startswith("measured")


def test_a_measurement_is_scaled_by_the_formula_with_a_wider_interval():
    half = workload_of(WAN, size=Size(832, 480), num_steps=25)
    answer = predict(half, L40S, measurements=[record()])
    ratio = formula_s(half, L40S) / formula_s(SMALL, L40S)
    assert answer.seconds.likely == pytest.approx(2000.0 * ratio, rel=1e-6)
    assert "scaled by the formula" in answer.basis[0]
    assert predict(SMALL, L40S, measurements=[record()]).sigma < answer.sigma


def test_cold_runs_other_models_and_other_gpus_do_not_count():
    others = [
        record(run=1, denoise_s=9999.0),
        record(model="cogvideox-5b"),
        record(model="embedded"),
        record(machine="NVIDIA RTX A6000, 8 x x"),
        record(machine="2 x AMD EPYC, 2 threads"),
    ]
    assert predict(SMALL, L40S, measurements=others).basis[0].startswith("formula")


def test_of_several_sizes_the_nearest_counts_and_of_its_runs_the_median():
    runs = [record(denoise_s=s, run=n, num_runs=4) for n, s in ((2, 1890), (3, 1990), (4, 2190))]
    far = record(width=256, height=256, denoise_s=1.0)
    answer = predict(SMALL, L40S, measurements=[*runs, far])
    assert answer.seconds.likely == pytest.approx(2000.0)
    assert answer.sigma > 0.05


def test_a_published_latency_of_the_same_case_takes_precedence_over_the_formula():
    gpu, workload = HARDWARE["A100 80GB SXM"], workload_of(WAN)
    answer = predict(workload, gpu)
    assert answer.seconds.likely == pytest.approx(math.sqrt(3342.6 * 3483.95))
    assert answer.basis[0].startswith("published: Wan2.1")
    assert answer.basis[1].startswith("published: NaviCache")
    other = workload_of(WAN, num_steps=49)
    assert predict(other, gpu).basis[0].startswith("formula")


def test_a_compiled_latency_counts_only_for_compiled_software():
    flux, gpu = workload_of(find_architecture("flux.1-dev")), HARDWARE["H100 SXM"]
    assert predict(flux, gpu).seconds.likely == pytest.approx(6.71)
    compiled = predict(flux, gpu, software="compiled")
    assert compiled.seconds.likely == pytest.approx(4.3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_steps": 0}, "steps 0 is out of range: 1 to 1,000"),
        ({"num_steps": 1001}, "steps 1001 is out of range"),
        ({"num_frames": 0}, "frames 0 is out of range"),
        ({"num_frames": 80}, "80 frames: a multiple of 4 plus 1; nearest: 77, 81"),
        ({"size": Size(833, 480)}, "multiples of 16; nearest: 832x480"),
        ({"forwards_per_step": 0}, "forwards per step 0 is out of range"),
        ({"fps": math.nan}, "fps nan is out of range"),
        ({"num_images": 0}, "batch 0 is out of range"),
    ],
)
def test_an_impossible_workload_is_refused_with_the_nearest_possible(changes, message):
    with pytest.raises(RequestError, match=message):
        check_supported(workload_of(WAN, **changes))


def test_an_image_model_makes_one_frame():
    with pytest.raises(RequestError, match="single images"):
        check_supported(workload_of(find_architecture("flux.1-dev"), num_frames=5))


@pytest.mark.parametrize("num_gpus", [0, -1, 5000])
def test_a_number_of_gpus_out_of_range_is_refused(num_gpus):
    with pytest.raises(RequestError, match="GPUs are out of range"):
        predict(SMALL, L40S, num_gpus=num_gpus)


def test_hub_ids_and_catalogue_names_are_architectures_too():
    assert find_architecture("Wan-AI/Wan2.1-T2V-14B-Diffusers").name == "wan2.1-t2v-14b"
    assert find_gpu("A100", HARDWARE).name == "A100 80GB SXM"


def test_unknown_software_gets_a_remark():
    gpu = HARDWARE["L40S"]
    unheard = predict(workload_of(WAN), gpu, software="turbofan")
    assert any("turbofan" in line for line in unheard.basis)
    for software in (None, "diffusers", "sglang"):
        known = predict(workload_of(WAN), gpu, software=software)
        assert not any("nothing is known" in line for line in known.basis)


def test_weights_that_are_read_at_every_step_bound_the_time():
    """FLUX.1 on 16 GB: 24 GB a step over PCIe cannot go faster than the bus."""
    answer = predict(workload_of(find_architecture("flux.1-dev")), HARDWARE["T4"])
    assert "every step" in answer.memory.offload
    assert answer.seconds.likely > 28 * 23.8e9 / 25e9
    large = predict(
        workload_of(find_architecture("qwen-image"), num_steps=50), HARDWARE["RTX 5090"]
    )
    assert "every step" in large.memory.offload
    assert large.seconds.likely > 100 * 40.8e9 / 32e9


def test_a_gpu_of_a_generation_without_latencies_has_a_wider_interval_than_one_of_a_known_generation():
    calibration = read_calibration()
    assert "rdna3" not in calibration.generations
    assert "ada-geforce" in calibration.generations
    case = Case(workload_of(WAN), Stack(gpu=HARDWARE["RX 7900 XTX"]))
    known = replace(calibration, generations=(*calibration.generations, "rdna3"))
    assert calibration.time(case)[1] > known.time(case)[1]


def test_the_case_of_a_software_name_does_not_matter():
    gpu = HARDWARE["H100 SXM"]
    one, other = (predict(workload_of(WAN), gpu, software=name) for name in ("SGLang", "sglang"))
    assert one == other
