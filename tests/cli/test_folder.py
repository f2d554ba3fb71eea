"""The command line on a model in a folder, loaded as any other; broken folders."""

import os
import resource
import shutil
import subprocess
import sys

import pytest
from diffusers import WanPipeline

from reelgrid.cli.app import run
from tests.files import names

SHORT = ("--size", "32x32", "--frames", "5", "--steps", "2")


@pytest.fixture(scope="session")
def folder(tmp_path_factory, model):
    parts = ("tokenizer", "text_encoder", "transformer", "vae", "scheduler")
    path = tmp_path_factory.mktemp("models") / "tiny-wan"
    pipeline = WanPipeline(**{name: model.pipeline.components[name] for name in parts})
    pipeline.save_pretrained(path)
    return path


@pytest.fixture
def broken(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "broken")


def refusal(capsys, *words):
    code = run([str(word) for word in words])
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    return code, printed.err.splitlines()


def test_a_folder_is_a_model(capsys, folder, here):
    assert run(["generate", "a red ball", "--model", str(folder), *SHORT, "-o", "a.mp4"]) == 0
    assert names(here) == ["a.mp4"]
    assert str(folder) not in (here / "a.mp4").read_bytes().decode("latin-1")


def test_what_it_cannot_make_is_refused_with_the_nearest(capsys, folder):
    code, lines = refusal(capsys, "generate", "x", "--model", folder, "--size", "131x77")
    assert code == 2
    assert "nearest: 128x80" in lines[-1]


def test_a_folder_that_is_not_a_model_is_refused(capsys, here):
    code, lines = refusal(capsys, "generate", "x", "--model", here)
    assert code == 1
    assert len(lines) == 1
    assert "is not a model" in lines[0]


def test_truncated_weights_are_refused(capsys, broken, here):
    weights = broken / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    code, lines = refusal(capsys, "generate", "x", "--model", broken, *SHORT, "-o", "a.mp4")
    assert code == 1
    assert len(lines) == 1
    assert "transformer" in lines[0]
    assert names(here) == []


def test_missing_weights_are_refused(capsys, broken):
    (broken / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    code, lines = refusal(capsys, "generate", "x", "--model", broken, *SHORT)
    assert code == 1
    assert len(lines) == 1


def test_a_damaged_index_is_refused(capsys, broken):
    (broken / "model_index.json").write_text("{", encoding="utf-8")
    code, lines = refusal(capsys, "generate", "x", "--model", broken, *SHORT)
    assert code == 1
    assert len(lines) == 1


def test_an_unknown_name_is_refused(capsys):
    code, lines = refusal(capsys, "generate", "x", "--model", "no-such-model")
    assert code in {1, 2}
    assert len(lines) == 1
    assert "no-such-model" in lines[0]


def test_an_unknown_device_is_refused(capsys, folder):
    code, lines = refusal(capsys, "generate", "x", "--model", folder, "--device", "abacus")
    assert code == 2
    assert "abacus" in lines[-1]


def test_a_disk_that_fills_up_is_one_line_and_leaves_nothing(folder, here):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

    words = ("generate", "a red ball", "--model", str(folder), *SHORT, "-o", "a.mp4")
    done = subprocess.run(
        [sys.executable, "-B", "-m", "reelgrid", *words],
        capture_output=True,
        text=True,
        preexec_fn=limit,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "could not be written: File too large" in done.stderr.splitlines()[-1]
    assert names(here) == []
