"""Invalid input: one line that says what would be right, exit code 2 or 1, no file left behind."""

import pytest

from tests.files import names

REFUSED = {
    "empty prompt": (["generate", ""], "the prompt is empty"),
    "no prompt": (["generate"], "the prompt is missing"),
    "huge prompt": (["generate", "x" * 10_000], "10,000 characters, 5,000 are allowed"),
    "no steps": (["generate", "x", "--steps", "0"], "1 to 1,000"),
    "too many steps": (["generate", "x", "--steps", "10000"], "1 to 1,000"),
    "steps that are not a number": (["generate", "x", "--steps", "many"], "--steps"),
    "negative size": (["generate", "x", "--size", "-128x128"], "1 to 8192 pixels"),
    "huge size": (["generate", "x", "--size", "99999x99999"], "1 to 8192 pixels"),
    "size of another form": (["generate", "x", "--size", "big"], "WIDTHxHEIGHT"),
    "unsupported size": (["generate", "x", "--size", "131x77"], "nearest: 128x128"),
    "unsupported number of frames": (["generate", "x", "--frames", "16"], "nearest: 17, 1"),
    "unsupported frame rate": (["generate", "x", "--fps", "200"], "nearest: 120"),
    "frame rate of 0": (["generate", "x", "--fps", "0"], "out of range"),
    "unsupported length": (["generate", "x", "--seconds", "60"], "nearest: 2.12 s"),
    "length of NaN": (["generate", "x", "--seconds", "nan"], "out of range"),
    "length twice": (["generate", "x", "--seconds", "2", "--frames", "17"], "exclude"),
    "guidance of nan": (["generate", "x", "--guidance-scale", "nan"], "0.0 to 100.0"),
    "guidance of infinity": (["generate", "x", "--guidance-scale", "inf"], "0.0 to 100.0"),
    "negative seed": (["generate", "x", "--seed", "-1"], "seed -1 is out of range"),
    "count of 0": (["generate", "x", "--count", "0"], "1 to 10,000"),
    "no such folder": (["generate", "x", "-o", "none/a.mp4"], "make it first"),
    "unknown extension": (["generate", "x", "-o", "a.avi"], "use one of .mp4"),
    "many frames as png": (["generate", "x", "-o", "a.png", "--frames", "17"], "one frame"),
    "image of many frames": (["generate", "x", "--image", "--frames", "17"], "one frame"),
    "image as a video": (["generate", "x", "--image", "-o", "a.mp4"], "give a .png"),
    "name too long": (["generate", "x", "-o", "n" * 300 + ".mp4"], "too long"),
    "no name": (["generate", "x", "-o", ""], "is not the name of a file"),
    "nothing but an extension": (["generate", "x", "-o", ".mp4"], "is not the name of a file"),
    "the folder above": (["generate", "x", "-o", ".."], "is not the name of a file"),
    "a device as a folder": (["generate", "x", "-o", "/dev/null"], "is not a folder"),
    "no such prompts file": (["generate", "--prompts-file", "none.txt"], "cannot be read"),
    "prompt and prompts file": (["generate", "x", "--prompts-file", "p.txt"], "not both"),
    "no such first frame": (["generate", "x", "--first-frame", "none.png"], "no image file"),
    "unsupported first frame": (
        ["generate", "x", "--model", "wan2.1-t2v-1.3b", "--first-frame", "none.png"],
        "takes no first frame",
    ),
    "unknown option": (["generate", "x", "--nope"], "--nope"),
    "unknown command": (["paint"], "paint"),
    "no folder for records": (["bench", "--output", "none/b.jsonl"], "make it first"),
    "a folder for records": (["bench", "--output", "."], "is a folder"),
    "no runs": (["bench", "--runs", "0"], "1 to 1,000"),
}


@pytest.mark.parametrize(("words", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_an_invalid_request_is_one_line_and_exit_2(reelgrid, here, words, message):
    code, out, err = reelgrid(*words)
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1
    assert message in err
    assert names(here) == []


def test_a_folder_that_cannot_be_written_is_refused(reelgrid, here, monkeypatch):
    monkeypatch.setattr("os.access", lambda path, mode: False)
    code, _, err = reelgrid("generate", "x", "-o", "a.mp4")
    assert code == 2
    assert "cannot be written to" in err


def test_a_prompts_file_without_prompts_is_refused(reelgrid, here):
    (here / "p.txt").write_text("# nothing\n\n", encoding="utf-8")
    code, _, err = reelgrid("generate", "--prompts-file", "p.txt")
    assert code == 2
    assert "contains no prompts" in err


def test_a_full_disk_is_one_line_and_exit_1(reelgrid, here, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("reelgrid.media.clip_writer.write_video", full)
    code, out, err = reelgrid("generate", "a red ball", "--model", "tiny", "-o", "a.mp4")
    assert (code, out) == (1, "")
    assert "No space left on device" in err.splitlines()[-1]
    assert names(here) == []


def test_an_error_of_the_system_is_one_line_and_exit_1(reelgrid, here, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device", "bench.jsonl")

    monkeypatch.setattr("reelgrid.measurement.append_records", full)
    code, out, err = reelgrid("bench", "tiny", "--runs", 1, "--steps", 1)
    assert (code, out) == (1, "")
    assert err.splitlines()[-1] == "reelgrid: bench.jsonl: No space left on device"


def test_an_invalid_setting_is_named(reelgrid, monkeypatch):
    monkeypatch.setenv("REELGRID_CHECKPOINT_EVERY_S", "often")
    code, _, err = reelgrid("generate", "a red ball")
    assert code == 2
    assert "REELGRID_CHECKPOINT_EVERY_S" in err
