import json
import signal
from pathlib import Path

import pytest

from reelgrid.catalog import ModelCard
from reelgrid.media import read_image, read_provenance
from tests.files import names

PROMPT = "a red ball rolls to the right"


def test_a_prompt_becomes_an_mp4_named_after_it(reelgrid, here):
    code, out, _ = reelgrid("generate", PROMPT, "--model", "tiny")
    assert code == 0
    assert names(here) == ["a-red-ball-rolls-to-the-right.mp4"]
    assert out.splitlines()[0] == str(here / "a-red-ball-rolls-to-the-right.mp4")
    assert read_provenance(here / "a-red-ball-rolls-to-the-right.mp4")["prompt"] == PROMPT


def test_the_report_has_the_time_of_each_stage(reelgrid):
    _, out, _ = reelgrid("generate", PROMPT, "--model", "tiny", "-o", "a.mp4")
    for word in ("load", "encode", "denoise", "decode", "write", "peak memory"):
        assert word in out
    assert "minutes of video per GPU-hour" in out


def test_piped_progress_is_plain_lines_on_stderr(reelgrid):
    _, _, err = reelgrid("generate", PROMPT, "--model", "tiny", "-o", "a.mp4")
    assert "denoise 4/4" in err
    assert "\x1b" not in err


def test_json_on_stdout_is_the_whole_report(reelgrid):
    _, out, _ = reelgrid(
        "generate", PROMPT, "--model", "tiny", "-o", "a.mp4", "--json", "--steps", 2
    )
    printed = json.loads(out)
    assert (printed["prompt"], printed["num_steps"], printed["num_frames"]) == (PROMPT, 2, 9)
    assert Path(printed["output"]).name == "a.mp4"
    assert printed["minutes_of_video_per_gpu_hour"] > 0


def test_every_option_reaches_the_request(reelgrid, here):
    reelgrid(
        "generate", PROMPT, "--model", "tiny", "--size", "48x32", "--frames", 5, "--fps", 12,
        "--steps", 2, "--guidance-scale", 1.5, "--negative-prompt", "blur", "--seed", 7, "-o", "a.webm",
    )  # fmt: skip
    printed = read_provenance(here / "a.webm")
    assert printed["extra"] == {
        "size": "48x32", "num_frames": 5, "fps": 12.0, "num_steps": 2, "guidance_scale": 1.5,
    }  # fmt: skip
    assert (printed["negative_prompt"], printed["seed"]) == ("blur", 7)


def test_image_is_one_frame_as_png(reelgrid, here):
    reelgrid("generate", PROMPT, "--model", "tiny", "--image")
    assert names(here) == ["a-red-ball-rolls-to-the-right.png"]
    assert read_image(here / "a-red-ball-rolls-to-the-right.png").shape == (32, 32, 3)


def test_a_png_name_asks_for_an_image(reelgrid, here):
    assert reelgrid("generate", PROMPT, "--model", "tiny", "-o", "a.png")[0] == 0
    assert read_provenance(here / "a.png")["extra"]["num_frames"] == 1


def test_seconds_of_a_model_outside_the_catalogue_follow_its_own_rule(reelgrid, model, here):
    rate = model.card.default.fps
    words = ("generate", PROMPT, "--model", "tiny", "-o", "a.mp4", "--seconds")
    assert reelgrid(*words, 5 / rate)[0] == 0
    assert read_provenance(here / "a.mp4")["extra"]["num_frames"] == 5
    code, _, err = reelgrid(*words, "nan")
    assert code == 2
    assert "nan seconds is out of range" in err


def test_an_error_comes_before_notices_about_the_prompt(reelgrid, model, monkeypatch):
    monkeypatch.setattr(model, "prompt_notices", lambda prompt: ("advice",), raising=False)
    code, _, err = reelgrid("generate", PROMPT, "--model", "tiny", "--size", "131x77")
    assert code == 2
    assert "advice" not in err


@pytest.mark.parametrize("name", ["embedded", "tiny"])
def test_the_models_defaults_are_filled_in_once(reelgrid, monkeypatch, name):
    """Whether the catalogue has the model, or only the loaded model knows its defaults."""
    calls = []
    complete = ModelCard.complete

    def counted(card, request):
        calls.append(card.name)
        return complete(card, request)

    monkeypatch.setattr(ModelCard, "complete", counted)
    words = ("--image", "--size", "128x128", "--steps", 2, "-o", "a.png")
    assert reelgrid("generate", PROMPT, "--model", name, *words)[0] == 0
    assert len(calls) == 1


def test_names_keep_letters_of_every_script(reelgrid, here):
    for prompt in ("красный мяч", "синий мяч"):
        reelgrid("generate", prompt, "--model", "tiny", "--image", "--steps", 1)
    assert names(here) == ["красный-мяч.png", "синий-мяч.png"]


def test_count_numbers_the_names_and_counts_the_seeds_up(reelgrid, here):
    reelgrid("generate", PROMPT, "--model", "tiny", "--count", 2, "--seed", 5, "-o", "a.mp4")
    assert names(here) == ["a-1.mp4", "a-2.mp4"]
    assert [read_provenance(here / name)["seed"] for name in names(here)] == [5, 6]


def test_stopped_among_several_it_says_what_is_left_and_a_second_run_makes_it(
    reelgrid, here, monkeypatch
):
    from reelgrid.engine.generation import Generation

    step = Generation.__next__

    def step_and_stop_the_second(generation):
        if generation.request.seed == 1:
            signal.raise_signal(signal.SIGTERM)
        return step(generation)

    command = ("generate", PROMPT, "--model", "tiny", "--count", 3, "-o", "a.mp4")
    with monkeypatch.context() as pressed:
        pressed.setattr(Generation, "__next__", step_and_stop_the_second)
        code, _, err = reelgrid(*command)
    assert code == 130
    assert "1 more not begun" in err
    assert reelgrid("resume")[0] == 0
    assert names(here) == ["a-1.mp4", "a-2.mp4"]
    assert "2 of 3 are made already" in reelgrid(*command)[2]
    assert names(here) == ["a-1.mp4", "a-2.mp4", "a-3.mp4"]


def test_the_same_seed_gives_the_same_file_and_another_another(reelgrid, here):
    for name, seed in (("a.mp4", 1), ("b.mp4", 1), ("c.mp4", 2)):
        reelgrid("generate", PROMPT, "--model", "tiny", "--seed", seed, "-o", name)
    contents = [(here / name).read_bytes() for name in ("a.mp4", "b.mp4", "c.mp4")]
    assert contents[0] == contents[1] != contents[2]


@pytest.fixture
def prompts_file(here):
    (here / "out").mkdir()
    path = here / "prompts.txt"
    path.write_text(f"# two\n{PROMPT}\n\nblue box\n", encoding="utf-8")
    return path


def test_each_line_of_a_file_becomes_a_clip_once(reelgrid, here, prompts_file):
    command = ("generate", "--prompts-file", prompts_file, "--model", "tiny", "-o", "out")
    assert reelgrid(*command)[0] == 0
    made = names(here / "out")
    assert len(made) == 2
    times = [(here / "out" / name).stat().st_mtime_ns for name in made]
    code, out, err = reelgrid(*command)
    assert (code, out) == (0, "")
    assert "2 of 2 are made already" in err
    assert [(here / "out" / name).stat().st_mtime_ns for name in made] == times


def test_a_line_with_other_settings_is_made_again(reelgrid, prompts_file):
    command = ("generate", "--prompts-file", prompts_file, "--model", "tiny", "-o", "out", "--json")
    reelgrid(*command)
    assert len(reelgrid(*command, "--steps", 2)[1].splitlines()) == 2


def test_notices_about_the_prompt_are_printed(reelgrid, model, monkeypatch):
    monkeypatch.setattr(
        model, "prompt_notices", lambda prompt: (f"unknown words in {prompt}",), raising=False
    )
    assert f"unknown words in {PROMPT}" in reelgrid("generate", PROMPT, "--model", "tiny")[2]


def test_an_unusable_folder_for_checkpoints_is_only_a_warning(reelgrid, here, monkeypatch):
    monkeypatch.setenv("REELGRID_DATA", "/dev/null/data")
    monkeypatch.setenv("REELGRID_CHECKPOINT_EVERY_S", "0")
    code, out, _ = reelgrid("generate", PROMPT, "--model", "tiny", "-o", "a.mp4")
    assert code == 0
    assert out.startswith(str(here / "a.mp4"))


def test_ctrl_c_saves_a_checkpoint_and_prints_the_command_that_resumes(reelgrid, here, monkeypatch):
    from reelgrid.engine.generation import Generation

    step = Generation.__next__

    def step_and_press_ctrl_c(generation):
        progress = step(generation)
        if progress.step == 2:
            signal.raise_signal(signal.SIGINT)
        return progress

    command = ("generate", PROMPT, "--model", "tiny", "-o", "a.mp4")
    with monkeypatch.context() as pressed:
        pressed.setattr(Generation, "__next__", step_and_press_ctrl_c)
        code, _, err = reelgrid(*command)
    assert code == 130
    assert names(here) == []
    (line,) = [line for line in err.splitlines() if "reelgrid resume" in line]
    code, _, err = reelgrid("resume", line.rpartition(" ")[2])
    assert code == 0
    assert "denoise 4/4" in err
    resumed = (here / "a.mp4").read_bytes()
    reelgrid(*command)
    assert (here / "a.mp4").read_bytes() == resumed
