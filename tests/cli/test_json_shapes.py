"""What `--json` prints has the keys and types that docs/cli.md shows, for every command."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from reelgrid.cli.app import app
from reelgrid.jobs.sql.sql_queue import open_job_queue
from reelgrid.local import RunInterrupted, RunSpec, generate_file
from reelgrid.local.run import RunHooks
from reelgrid.measurement import append_records
from reelgrid.media import self_signed_signer, sign
from reelgrid.plan.prediction import calibrate
from reelgrid.plan.prediction.fit import training_set
from reelgrid.settings import Settings
from reelgrid.spec import Request
from tests.cli.test_jobs import new_job
from tests.media.clips import PROVENANCE
from tests.media.test_manifest import make
from tests.plan.test_recalibration import RECORDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
EXAMPLES = ROOT / "examples"
INTERVAL = {"low": "number", "likely": "number", "high": "number"}
NAMED = {
    "interval": INTERVAL,
    "estimate": {"value": "number", "low": "number or null", "high": "number or null"},
    "error": {"code": "string", "message": "string"},
}
TYPES: dict[str, Any] = {"string": str, "integer": int, "number": (int, float), "boolean": bool}


def documented():
    """The shapes on the page: by command, and by the names that they give to one another."""
    shapes: dict[str, Any] = {}
    named: dict[str, Any] = dict(NAMED)
    for section in re.split(r"\n### ", PAGE[PAGE.index("## JSON output") :])[1:]:
        commands = re.findall(r"`reelgrid ([^`]+)`", section.partition("\n")[0])
        first, *others = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
        shapes |= dict.fromkeys(commands, json.loads(first))
        for name, text in zip(re.findall(r"is a `(\w+)`", section), others, strict=True):
            named[name] = json.loads(text)
    return shapes, named


SHAPES, SHAPE_NAMES = documented()


def differences(value, shape, where=""):
    """Return the differences between a value and its shape, as lines of text."""
    if isinstance(shape, str):
        return _of_type(value, shape, where)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{where}: no list"]
        return [line for each in value for line in differences(each, shape[0], f"{where}[]")]
    if not isinstance(value, dict):
        return [f"{where}: no object"]
    any_key = shape.get("*")
    if any_key is None and set(value) != set(shape):
        return [f"{where}: keys {sorted(set(value) ^ set(shape))} differ"]
    return [
        line
        for key, each in value.items()
        for line in differences(each, shape.get(key, any_key), f"{where}.{key}")
    ]


def _of_type(value, shape, where):
    names = shape.split(" or ")
    if "any" in names or (value is None and "null" in names):
        return []
    for name in names:
        if name.startswith("["):
            return differences(value, [name[1:-1]], where)
        if name in SHAPE_NAMES:
            return differences(value, SHAPE_NAMES[name], where)
        is_bool = isinstance(value, bool)
        if name in TYPES and isinstance(value, TYPES[name]) and is_bool == (name == "boolean"):
            return []
    return [f"{where}: {value!r} is not {shape}"]


def test_a_wrong_key_and_a_wrong_type_are_differences():
    shape = {"a": "integer", "b": ["interval"], "c": {"*": "string or null"}}
    right = {"a": 1, "b": [{"low": 1, "likely": 2.5, "high": 3}], "c": {"x": "y", "z": None}}
    assert differences(right, shape) == []
    wrongs: list[dict[str, object]] = [
        {"a": True},
        {"b": [{"low": 1}]},
        {"c": {"x": 1}},
        {"d": 1},
        {"b": {}},
    ]
    for wrong in wrongs:
        assert len(differences(right | wrong, shape)) == 1


@pytest.fixture
def printed(reelgrid):
    """Run a command with --json and return the objects that it prints."""

    def run(*words, codes=(0,)):
        code, out, err = reelgrid(*words, "--json")
        assert code in codes, err
        return [json.loads(line) for line in out.splitlines()]

    return run


def check(command, objects):
    assert objects
    for each in objects:
        assert differences(each, SHAPES[command]) == []


def test_generate_and_bench(printed):
    check("generate", printed("generate", "a red ball", "--model", "tiny", "-o", "a.mp4"))
    check("generate", printed("generate", "a red ball", "--model", "tiny", "--image"))
    check("bench", printed("bench", "tiny", "--runs", 1, "--steps", 1))


def test_resume(printed, model, here):
    with pytest.raises(RunInterrupted):
        generate_file(
            RunSpec(model="tiny", request=Request("a red ball"), output=here / "a.mp4"),
            model,
            RunHooks(checkpoint_folder=Settings().checkpoints, should_stop=lambda: True),
        )
    check("resume --list", printed("resume", "--list"))
    check("resume", printed("resume"))


def test_evaluate(printed, monkeypatch):
    from reelgrid.train import evaluation

    scores = (evaluation.Score("colour", 0.5, 0.25, 0.75),)
    monkeypatch.setattr(evaluation, "evaluate", lambda *args, **options: scores)
    check("evaluate", printed("evaluate", "tiny"))


def test_jobs(printed):
    queue = open_job_queue(Settings().database_url)
    waiting, ended = queue.submit(new_job()), queue.submit(new_job())
    queue.cancel(ended.id)
    queue.close()
    check("jobs list", printed("jobs", "list"))
    check("jobs show", printed("jobs", "show", waiting.id, ended.id))
    check("jobs follow", printed("jobs", "follow", ended.id, codes=(1,)))


def test_keys(printed):
    check("keys create", printed("keys", "create", "ann", "--max-jobs", 3))
    check("keys list", printed("keys", "list"))


def test_verify(printed, here):
    unsigned, signed = make(here / "a.png"), make(here / "b.mp4")
    sign(signed, PROVENANCE, self_signed_signer(Settings().data))
    check("verify", printed("verify", unsigned, codes=(3,)))
    check("verify", printed("verify", signed, "--prompt", "x", codes=(1,)))


PLANS = {
    "models": ["models"],
    "plan hardware": ["plan", "hardware"],
    "plan hardware --prices": ["plan", "hardware", "--prices"],
    "plan hardware --churn": ["plan", "hardware", "--churn"],
    "plan models": ["plan", "models"],
    "plan predict": ["plan", "predict", "--model", "wan2.1-t2v-14b", "--gpu", "all"],
    "plan sora-report": ["plan", "sora-report"],
    "plan offers": [
        "plan", "offers", EXAMPLES / "offers/startup.json", EXAMPLES / "offers/offers.csv",
        "--gap", "0.05",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("command", "words"), PLANS.items(), ids=PLANS.keys())
def test_facts_and_plans(printed, command, words):
    check(command, printed(*words))


def test_calibrate(printed, monkeypatch):
    few = [each for each in training_set() if each.source_name in {"Wan2.1", "CogVideo"}]
    monkeypatch.setattr(calibrate, "training_set", lambda: few)
    append_records(Settings().measurements, RECORDS)
    check("plan calibrate", printed("plan", "calibrate"))
    check("plan calibrate", printed("plan", "calibrate", "--dry-run"))


@pytest.mark.parametrize("name", ["studio-40-artists", "startup-consumer-gpus"])
def test_scenarios(printed, name):
    scenario = EXAMPLES / "scenarios" / f"{name}.toml"
    check("plan demand", printed("plan", "demand", scenario, "--draws", 100))
    check("simulate", printed("simulate", scenario, "--hours", 1))
    check("simulate", printed("simulate", scenario, "--hours", 1, "--no-compare"))


def test_the_page_shows_every_command_that_prints_json():
    import typer

    def commands(group, prefix=""):
        for name, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from commands(command, f"{prefix}{name} ")
            elif any("--json" in parameter.opts for parameter in command.params):
                yield f"{prefix}{name}"

    assert set(commands(typer.main.get_command(app))) == {
        re.sub(r" --.*", "", name) for name in SHAPES
    }
