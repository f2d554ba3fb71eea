"""Seconds from the command to the file: `reelgrid generate` in a new process each time.

    python benchmarks/command.py [--model embedded] [--runs 9] [--write]

Each run starts Python, imports everything, loads the model, generates the clip and writes the MP4.
The first run is not counted: it reads the files from the disk.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import reelgrid
from reelgrid.measurement import processor_name

RESULTS = Path(__file__).parent / "results"
PROMPT = "a red ball rolls to the right"


def run_once(model: str, folder: Path) -> tuple[float, dict[str, float]]:
    """Return wall seconds, and the seconds of the stages that the command reports."""
    command = [sys.executable, "-m", "reelgrid", "generate", PROMPT, "--model", model, "--json"]
    start = time.perf_counter()
    done = subprocess.run(
        [*command, "--output", str(folder / "clip.mp4")], capture_output=True, check=True, text=True
    )
    wall_s = time.perf_counter() - start
    report = json.loads(done.stdout)
    stages = ("load_s", "encode_s", "denoise_s", "decode_s", "write_s")
    return wall_s, {stage: report[stage] for stage in stages}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [run_once(options.model, Path(folder)) for _ in range(options.runs + 1)][1:]
    walls = [wall_s for wall_s, _ in runs]
    stages = {name: statistics.median(run[name] for _, run in runs) for name in runs[0][1]}
    result = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": processor_name(),
        "reelgrid": reelgrid.__version__,
        "prompt": PROMPT,
        "runs": options.runs,
        "command_to_file_s": {
            "median": statistics.median(walls),
            "fastest": min(walls),
            "slowest": max(walls),
        },
        "median_stage_s": stages,
        "generation_s": sum(stages[name] for name in ("encode_s", "denoise_s", "decode_s")),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.write:
        day = datetime.now(UTC).date().isoformat()
        path = RESULTS / f"{day}_command.json"
        path.write_text(text + "\n", encoding="utf-8")
        print(path)


if __name__ == "__main__":
    main()
