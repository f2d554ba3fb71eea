import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from reelgrid.errors import RequestError
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


def test_appended_records_are_read_unchanged(tmp_path):
    path = tmp_path / "new" / "bench.jsonl"
    append_records(path, [RECORD])
    append_records(path, [RECORD])
    assert read_records(path) == (RECORD, RECORD)


def without(name):
    return json.dumps({key: value for key, value in asdict(RECORD).items() if key != name})


BAD_LINES = {
    "torn": RECORD.to_json()[:-40],
    "of a newer version": json.dumps({**asdict(RECORD), "colour": "red"}),
    "of an older version": without("fps"),
    "without steps": without("step_s"),
    "a list": "[1, 2]",
    "a number": "7",
    "a text for a number": json.dumps({**asdict(RECORD), "width": "wide"}),
    "a rate of 0": json.dumps({**asdict(RECORD), "fps": 0}),
    "no number": json.dumps({**asdict(RECORD), "load_s": float("nan")}),
    "bytes that are no text": "\udcff",
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_a_line_that_is_not_a_record_is_skipped_with_one_warning(tmp_path, caplog, name):
    path = tmp_path / "bench.jsonl"
    lines = "\n".join((RECORD.to_json(), BAD_LINES[name], RECORD.to_json(), ""))
    path.write_bytes(lines.encode(errors="surrogateescape"))
    assert read_records(path) == (RECORD, RECORD)
    assert [entry.getMessage().partition(": ")[0] for entry in caplog.records] == [
        f"{path}, line 2 is skipped"
    ]


def test_a_file_of_garbage_is_a_few_warnings(tmp_path, caplog):
    path = tmp_path / "bench.jsonl"
    path.write_text("[" * 200_000 + "\n" + "no record\n" * 100)
    assert read_records(path) == ()
    assert len(caplog.records) == 4
    assert "101 lines are skipped in all" in caplog.text


def test_a_record_after_a_torn_line_begins_a_new_line(tmp_path):
    path = tmp_path / "bench.jsonl"
    path.write_text(RECORD.to_json() + "\n" + RECORD.to_json()[:99], encoding="utf-8")
    append_records(path, [RECORD])
    assert read_records(path) == (RECORD, RECORD)


def test_records_are_appended_in_one_write_of_whole_lines(tmp_path):
    """The system's limit on a file's size cuts the write short; no error is hidden."""
    path = tmp_path / "bench.jsonl"
    append_records(path, [RECORD])
    words = [sys.executable, "-c", APPEND, str(path), str(path.stat().st_size + 99)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert "OSError: [Errno 28] No space left on device" in done.stderr
    append_records(path, [RECORD])
    assert read_records(path) == (RECORD, RECORD)


APPEND = """
import resource, sys
from pathlib import Path
from reelgrid.measurement import append_records, read_records

path, limit = Path(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
append_records(path, read_records(path))
"""


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(RequestError, match="cannot be read: Is a directory"):
        read_records(tmp_path)


def test_the_processor_has_a_name():
    assert " x " in processor_name()
