"""How good `reelgrid plan predict` is: the fit, cross-validation, and points it was not fitted to.

    python benchmarks/prediction.py [--write] [--date 2026-11-23]

Leaves out whole sources, then whole GPUs, each time with a fit of its own, and then guesses the
published latencies of `prediction_check.csv`, `prediction_sealed.csv` and `prediction_sealed_2.csv`,
which no fit has seen. The latter two were committed before any prediction of them was made; what the
models of those days said is filed in `results/2026-11-23_prediction_sealed.json` and
`..._sealed_2.json`. `--write` files the fitted coefficients in the package and the figures here.
"""

import argparse
import dataclasses
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import reelgrid
from reelgrid.measurement import processor_name
from reelgrid.plan import calibration_check as check
from reelgrid.plan.calibration import read_calibration
from reelgrid.plan.calibration_check import Guess
from reelgrid.plan.calibration_fit import fit, training_set
from reelgrid.plan.calibration_fit import to_json as calibration_json
from reelgrid.plan.latencies import Observation, read_latencies, read_ml_energy
from reelgrid.plan.power import fit_power
from reelgrid.plan.predict import Prediction, predict

HERE = Path(__file__).parent
RESULTS = HERE / "results"
COEFFICIENTS = HERE.parent / "src/reelgrid/plan/facts/calibration.json"


def check_set() -> tuple[Observation, ...]:
    """Return the published latencies that no fit has seen, looked at while choices were made."""
    return not_fitted("prediction_check.csv")


SEALED = ("prediction_sealed.csv", "prediction_sealed_2.csv")
"""Published latencies written down before the model of the day predicted any, in their order."""


def not_fitted(name: str) -> tuple[Observation, ...]:
    """Return the published latencies of a file beside this one."""
    fitted = {each.name for each in read_latencies()}
    both = read_latencies([HERE / name])
    return tuple(each for each in both if each.name not in fitted)


def summary(guesses: Sequence[Guess], widening: float = 1.0) -> dict[str, float] | None:
    """Return the errors of guesses, rounded; none of none."""
    if not guesses:
        return None
    figures = dataclasses.asdict(check.errors(guesses, widening))
    return {key: round(value, 3) for key, value in figures.items()}


def is_published(guess: Guess) -> bool:
    """Return whether it is a row of `latencies.csv`, not one of ML.ENERGY's own table."""
    return guess.observation.name.startswith("p")


def sources_table(guesses: Sequence[Guess], widening: float) -> dict[str, object]:
    """Return errors over sources left out, as a whole, by what was seen, and by fold."""
    rows = [each for each in guesses if is_published(each)]
    seen = [each for each in rows if each.is_stack_seen]
    return {
        "published rows": summary(rows),
        "stack seen (GPU generation and kernel class)": summary(seen),
        "stack and GPU seen": summary([each for each in seen if each.is_gpu_seen]),
        "GPU not seen": summary([each for each in rows if not each.is_gpu_seen]),
        "ML.ENERGY rows, 1 to 8 GPUs": summary([g for g in guesses if not is_published(g)]),
        "coverage, each fold widened by the others": round(
            check.covered(guesses, check.source_of), 3
        ),
        "coverage with the filed widening": summary(rows, widening),
        "by fold": {
            fold: summary([each for each in guesses if each.fold == fold])
            for fold in sorted({each.fold for each in guesses})
        },
    }


def gpus_table(guesses: Sequence[Guess], widening: float) -> dict[str, object]:
    """Return errors over GPUs left out, as a whole and by fold."""
    rows = [each for each in guesses if is_published(each)]
    resident = [each for each in rows if each.observation.stack.offload != "steps"]
    return {
        "published rows": summary(rows),
        "without those that stream weights every step": summary(resident),
        "coverage, each fold widened by the others": round(check.covered(rows, check.gpu_of), 3),
        "coverage with the filed widening": summary(rows, widening),
        "by fold": {
            fold: summary([each for each in rows if check.gpu_of(each.observation) == fold])
            for fold in sorted({check.gpu_of(each.observation) for each in rows})
        },
    }


def is_clip(observation: Observation) -> bool:
    """Return whether it is a whole generation, not a single step."""
    return observation.workload.num_forwards > 2


def told_nothing(observation: Observation) -> Observation:
    """Return the observation as a caller asks who knows the model and the GPU only."""
    stack = dataclasses.replace(observation.stack, kernel=None, software=None)
    return dataclasses.replace(observation, stack=stack)


def check_table(guesses: Sequence[Guess], widening: float) -> dict[str, object]:
    """Return errors on the points that no fit has seen, and each of them."""
    alone = [each for each in guesses if each.observation.stack.num_gpus == 1]
    return {
        "all": summary(guesses, widening),
        "one GPU": summary(alone, widening),
        "stack and GPU seen": summary(
            [each for each in guesses if each.is_stack_seen and each.is_gpu_seen], widening
        ),
        "GPU not seen": summary([each for each in guesses if not each.is_gpu_seen], widening),
        "points": [point(each) for each in guesses],
    }


def answer_of(each: Observation) -> Prediction:
    """Return what `predict` says of an observation, told what the observation tells."""
    stack = each.stack
    return predict(
        each.workload,
        stack.gpu,
        num_gpus=stack.num_gpus,
        kernel=stack.kernel,
        software=stack.software,
    )


def through_predict(observations: Sequence[Observation]) -> dict[str, float]:
    """Return the errors of `predict` itself: memory, offload, published rows and all."""
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


GROUPS: dict[str, Callable[[Observation], bool]] = {
    "all": lambda each: True,
    "video": lambda each: each.workload.model.kind == "video",
    "video, one GPU": lambda each: each.workload.model.kind == "video" and each.stack.num_gpus == 1,
    "images": lambda each: each.workload.model.kind == "image",
    "several GPUs": lambda each: each.stack.num_gpus > 1,
    "GPU seen": lambda each: read_calibration().knows(f"gpu:{each.stack.gpu.name}"),
    "GPU not seen": lambda each: not read_calibration().knows(f"gpu:{each.stack.gpu.name}"),
}
"""By what the sealed points are told apart."""


def sealed_table(name: str) -> dict[str, object]:
    """Return the errors of `predict` with the filed fit on the points of a file that are whole."""
    told = [each for each in not_fitted(name) if each.is_whole]
    return {
        words: {
            group: through_predict([make(each) for each in told if is_in(each)])
            for group, is_in in GROUPS.items()
            if sum(map(is_in, told)) > 1
        }
        for words, make in {
            "kernel and software as published": lambda each: each,
            "only model, GPUs, size, frames and steps": told_nothing,
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
            for each in told
            for answer in [answer_of(each)]
        ]
    }


def point(guess: Guess) -> dict[str, object]:
    """Return one guess in figures."""
    seen = guess.observation
    return {
        "model": seen.workload.model.name,
        "gpu": seen.stack.gpu.name,
        "num_gpus": seen.stack.num_gpus,
        "size": str(seen.workload.size),
        "frames": seen.workload.num_frames,
        "kernel": seen.stack.kernel,
        "seconds": seen.seconds,
        "relative_error": round(guess.relative_error, 3),
        "sigma": round(guess.sigma, 3),
        "source": seen.source,
        "note": seen.note,
    }


def file_fit(date: str) -> None:
    """Write the coefficients that the package's facts give where the package reads them."""
    fitted = training_set()
    widening = check.widening(check.leave_out(fitted, check.source_of))
    calibration = fit(fitted, date=date, widening=widening)
    filed = calibration_json(calibration, fit_power(read_ml_energy()))
    COEFFICIENTS.write_text(filed, encoding="utf-8")
    read_calibration.cache_clear()


def measure(date: str) -> dict[str, object]:
    """Return how good the fit is, and `predict` with the fit that is filed."""
    fitted = training_set()
    by_source = check.leave_out(fitted, check.source_of)
    by_gpu = check.leave_out(fitted, check.gpu_of)
    widening = check.widening(by_source)
    start = time.perf_counter()
    calibration = fit(fitted, date=date, widening=widening)
    fit_s = time.perf_counter() - start
    plain = dataclasses.replace(calibration, widening=1.0)
    unseen = check.guess(plain, fitted, check_set())
    untold = [told_nothing(each) for each in check_set()]
    return {
        "measured_at": date,
        "machine": processor_name(),
        "reelgrid": reelgrid.__version__,
        "observations": len(fitted),
        "fit_s": round(fit_s, 3),
        "widening": round(widening, 4),
        "leave out sources": sources_table(by_source, widening),
        "leave out GPUs": gpus_table(by_gpu, widening),
        "points not fitted to": check_table(unseen, widening),
        "points not fitted to, kernel not told": check_table(
            check.guess(plain, fitted, untold), widening
        )
        | {"points": "as above"},
        "points not fitted to, through predict()": {
            "kernel told": through_predict([each for each in check_set() if is_clip(each)]),
            "kernel not told": through_predict([each for each in untold if is_clip(each)]),
        },
        "points once sealed, through predict()": {name: sealed_table(name) for name in SEALED},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--date", default="2026-11-23")
    asked = parser.parse_args()
    if asked.write:
        file_fit(asked.date)
    text = json.dumps(measure(asked.date), indent=1)
    print(text)
    if asked.write:
        (RESULTS / f"{asked.date}_prediction.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
