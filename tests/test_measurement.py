import json

import pytest

from reelgrid.measurement import (
    BenchRecord,
    append_records,
    minutes_per_gpu_hour,
    processor_name,
    read_records,
)

RECORD = BenchRecord(
    measured_at="2026-11-23T04:00:00+00:00",
    machine="2 x somewhat fast",
    device="cpu",
    dtype="float32",
    software={"torch": "2.13.0"},
    model="embedded",
    width=128,
    height=128,
    num_frames=16,
    fps=8.0,
    num_steps=2,
    guidance_scale=2.5,
    run=1,
    num_runs=1,
    load_s=3.0,
    encode_s=0.1,
    denoise_s=0.8,
    step_s=(0.4, 0.4),
    decode_s=0.1,
    peak_memory_gib=0.5,
)


def test_two_seconds_of_video_in_one_second_of_work_are_120_minutes_an_hour():
    assert minutes_per_gpu_hour(clip_s=2.0, busy_s=1.0) == pytest.approx(120.0)
    assert RECORD.minutes_per_gpu_hour == pytest.approx(120.0)


def test_eight_gpus_count_eight_times():
    assert minutes_per_gpu_hour(2.0, 1.0, num_gpus=8) == pytest.approx(15.0)


def test_records_come_back_as_they_were_appended(tmp_path):
    path = tmp_path / "new" / "bench.jsonl"
    append_records(path, [RECORD])
    append_records(path, [RECORD])
    assert read_records(path) == (RECORD, RECORD)


def test_a_line_with_an_unknown_key_is_refused():
    line = json.dumps({**json.loads(RECORD.to_json()), "colour": "red"})
    with pytest.raises(TypeError):
        BenchRecord.from_json(line)


def test_the_processor_has_a_name():
    assert " x " in processor_name()
