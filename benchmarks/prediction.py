"""Accuracy of `reelgrid plan predict`: cross-validation of the fit, and points it was not fitted to.

    python benchmarks/prediction.py [--write] [--date 2026-11-29]

Leaves out whole sources, then whole GPUs; each fold has its own fit. Then asks `predict` for the
published latencies of `prediction_sealed_2.csv`, which no fit has used and which were committed
before any of them was predicted. The check and the first sealed set (`prediction_sealed.csv`) are now
in the fit. `results/2026-11-23_prediction_sealed.json` and `..._sealed_2.json` contain the predictions
of the sealed sets by the models of that time. `--write` writes the fitted coefficients to the package
and the figures to `results/`.
"""

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import reelgrid
from reelgrid.measurement import processor_name
from reelgrid.plan.prediction import cross_validation as check
from reelgrid.plan.prediction.cross_validation import Guess
from reelgrid.plan.prediction.fit import to_json as calibration_json
from reelgrid.plan.prediction.fit import training_set
from reelgrid.plan.prediction.observations import Observation, read_latencies, read_ml_energy
from reelgrid.plan.prediction.power import fit_power
from reelgrid.plan.prediction.predict import Prediction, predict

HERE = Path(__file__).parent
RESULTS = HERE / "results"
COEFFICIENTS = HERE.parent / "src/reelgrid/plan/facts/calibration.json"

SOURCE = "benchmarks/prediction.py on plan/facts/latencies.csv and ml_energy_h100.csv"

SEALED = ("prediction_sealed.csv", "prediction_sealed_2.csv")
"""Published latencies that were collected before the model of that time predicted any, in order of
time; the points of the first file are now in the fit."""

GROUPS: dict[str, Callable[[Observation], bool]] = {
    "all published": lambda each: True,
    "fitted to from the first": lambda each: not each.held_out,
    "once the check": lambda each: each.held_out == "check",
    "once the first seal": lambda each: each.held_out == "first seal",
    "video": lambda each: each.workload.model.kind == "video",
    "video, several GPUs": lambda each: GROUPS["video"](each) and each.stack.num_gpus > 1,
    "images": lambda each: each.workload.model.kind == "image",
    "images, several GPUs": lambda each: GROUPS["images"](each) and each.stack.num_gpus > 1,
    "several GPUs": lambda each: each.stack.num_gpus > 1,
}
"""Groups of published points."""


def not_fitted(name: str) -> tuple[Observation, ...]:
    """Return the published latencies of a file in this folder that are not in the package's file."""
    fitted = {each.name for each in read_latencies()}
    both = read_latencies([HERE / name])
    return tuple(each for each in both if each.name not in fitted)


def summary(guesses: Sequence[Guess], widening: float = 1.0) -> dict[str, float] | None:
    """Return the errors of guesses, rounded; `None` without guesses."""
    if not guesses:
        return None
    figures = dataclasses.asdict(check.errors(guesses, widening))
    return {key: round(value, 3) for key, value in figures.items()}


def groups_table(guesses: Sequence[Guess], widening: float) -> dict[str, dict[str, float] | None]:
    """Return the errors of the published rows among guesses, by group."""
    rows = [each for each in guesses if each.is_published]
    seen = [each for each in rows if each.is_stack_seen]
    return {
        group: summary([each for each in rows if is_in(each.observation)], widening)
        for group, is_in in GROUPS.items()
    } | {
        "stack seen (GPU generation and kernel class)": summary(seen, widening),
        "stack and GPU seen": summary([each for each in seen if each.is_gpu_seen], widening),
        "GPU not seen": summary([each for each in rows if not each.is_gpu_seen], widening),
    }


def fold_table(
    as_observed: Sequence[Guess],
    unspecified: Sequence[Guess],
    key: check.FoldKey,
    wide: tuple[float, float],
) -> dict[str, object]:
    """Return errors with folds left out, as a whole, by group and by fold, and each of them."""
    rows = [each for each in as_observed if each.is_published]
    widening = wide[0]
    return {
        "kernel and software given": groups_table(as_observed, widening),
        "kernel and software not given": groups_table(unspecified, wide[1]),
        "ML.ENERGY rows, 1 to 8 GPUs": summary(
            [g for g in as_observed if not g.is_published], widening
        ),
        "coverage, each fold widened by the others": round(
            check.coverage_by_fold(as_observed, key), 3
        ),
        "by fold": {
            fold: summary([each for each in as_observed if key(each.observation) == fold], widening)
            for fold in sorted({key(each.observation) for each in as_observed})
        },
        "points": [point(each) for each in rows],
    }


def answer_of(each: Observation) -> Prediction:
    """Return the prediction of an observation, with its kernel and software."""
    stack = each.stack
    return predict(
        each.workload,
        stack.gpu,
        num_gpus=stack.num_gpus,
        kernel=stack.kernel,
        software=stack.software,
    )


def through_predict(observations: Sequence[Observation]) -> dict[str, float]:
    """Return the errors of `predict` itself: including memory, offload and published rows."""
    answers = [(each.seconds, answer_of(each).seconds) for each in observations]
    ratios = [answer.likely / seen for seen, answer in answers]
    relative = [abs(ratio - 1) for ratio in ratios]
    return {
        "count": len(relative),
        "median": round(statistics.median(relative), 3),
        "p90": round(statistics.quantiles(relative, n=10)[-1], 3),
        "coverage": round(
            statistics.mean(answer.low <= seen <= answer.high for seen, answer in answers), 3
        ),
        "bias": round(statistics.median(ratios) - 1, 3),
    }


def sealed_table(name: str) -> dict[str, object]:
    """Return the errors of `predict` with the package's fit on the end-to-end points of a file."""
    points = [each for each in not_fitted(name) if each.is_whole]
    return {
        words: {
            group: through_predict([make(each) for each in points if is_in(each)])
            for group, is_in in GROUPS.items()
            if sum(map(is_in, points)) > 1
        }
        for words, make in {
            "kernel and software as published": lambda each: each,
            "only model, GPUs, size, frames and steps": check.without_stack_details,
        }.items()
    } | {
        "points": [
            {
                "name": each.name,
                "model": each.workload.model.name,
                "gpu": each.stack.gpu.name,
                "num_gpus": each.stack.num_gpus,
                "seconds": each.seconds,
                "predicted": round(answer.seconds.likely, 3),
                "low": round(answer.seconds.low, 3),
                "high": round(answer.seconds.high, 3),
            }
            for each in points
            for answer in [answer_of(each)]
        ]
    }


def point(guess: Guess) -> dict[str, object]:
    """Return the figures of one guess."""
    seen = guess.observation
    return {
        "name": seen.name,
        "model": seen.workload.model.name,
        "gpu": seen.stack.gpu.name,
        "num_gpus": seen.stack.num_gpus,
        "seconds": seen.seconds,
        "relative_error": round(guess.relative_error, 3),
        "sigma": round(guess.sigma, 3),
    }


def measure(date: str, *, is_written: bool) -> dict[str, object]:
    """Return the accuracy of the fit by cross-validation, and of `predict` with the package's fit."""
    fitted = training_set()
    by_source = check.leave_out_each(fitted, check.source_of)
    by_gpu = check.leave_out_each(fitted, check.gpu_of)
    start = time.perf_counter()
    calibration = check.fit_with_intervals(fitted, *by_source, date=date)
    fit_s = time.perf_counter() - start
    wide = (calibration.widening, calibration.widening_unspecified)
    if is_written:
        filed = calibration_json(calibration, fit_power(read_ml_energy()), SOURCE)
        COEFFICIENTS.write_text(filed, encoding="utf-8")
    return {
        "measured_at": date,
        "machine": processor_name(),
        "reelgrid": reelgrid.__version__,
        "observations": len(fitted),
        "published": len(read_latencies()),
        "fit_s": round(fit_s, 3),
        "widening": round(wide[0], 4),
        "widening without kernel and software": round(wide[1], 4),
        "leave out sources": fold_table(*by_source, check.source_of, wide),
        "leave out GPUs": fold_table(*by_gpu, check.gpu_of, wide),
        "sealed and not fitted to, through predict()": sealed_table(SEALED[1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--date", default=datetime.now(UTC).date().isoformat())
    asked = parser.parse_args()
    text = json.dumps(measure(asked.date, is_written=asked.write), indent=1)
    print(text)
    if asked.write:
        (RESULTS / f"{asked.date}_prediction.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
