"""A field of a request is declared once: every place that shows or stores a request has it."""

import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Any, get_type_hints

import pytest
import typer.main

import reelgrid
from reelgrid.api.fields import ImageFields, VideoFields
from reelgrid.api.responses import job_json
from reelgrid.api.schemas import Video
from reelgrid.catalog import find
from reelgrid.cli.app import app
from reelgrid.jobs.request import JobRequest
from reelgrid.jobs.sql.sql_queue import open_job_queue
from reelgrid.media.provenance import provenance_of
from reelgrid.spec import REQUEST_FIELDS, Request, RequestField, RequestOptions, Size
from tests.jobs.builders import new_job

PAGE = Path(__file__).parent.parent / "docs" / "request.md"
EXAMPLES: dict[type, Any] = {
    str: "text",
    int: 1,
    float: 1.0,
    Size: Size(128, 128),
    Path: Path("/a/first.png"),
}
each_field = pytest.mark.parametrize("declared", REQUEST_FIELDS, ids=lambda each: each.name)


def request_with(declared: RequestField) -> Request:
    """A request that has a value other than the default in this field."""
    return Request(**{"prompt": "a red ball", declared.name: EXAMPLES[declared.type]})


@each_field
def test_json_and_back_is_the_same_request(declared: RequestField) -> None:
    request = request_with(declared)
    values = json.loads(json.dumps(request.to_json()))
    assert declared.name in values
    assert Request.from_json(values) == request


@each_field
def test_a_row_written_before_the_field_existed_has_its_default(declared: RequestField) -> None:
    values = Request("a red ball").to_json()
    if not declared.is_required:
        del values[declared.name]
        assert getattr(Request.from_json(values), declared.name) == declared.default


@each_field
def test_the_command_has_the_option_with_the_help(declared: RequestField) -> None:
    command: Any = typer.main.get_command(app)
    (parameter,) = [
        each for each in command.commands["generate"].params if each.name == declared.name
    ]
    assert parameter.help == declared.help
    if not declared.is_required:
        assert parameter.opts == [declared.option]


@each_field
def test_the_body_of_a_video_has_the_field_with_its_range(declared: RequestField) -> None:
    schema = VideoFields.model_json_schema()["properties"][declared.api_name]
    assert schema["description"] == declared.help
    (known,) = [each for each in schema.get("anyOf", [schema]) if each != {"type": "null"}]
    assert (known.get("minimum"), known.get("maximum")) == (declared.low, declared.high)
    assert known.get("maxLength") == declared.max_chars


def test_the_body_of_an_image_has_every_field_but_those_of_clips() -> None:
    names = {each.name for each in REQUEST_FIELDS if each.api_name in ImageFields.model_fields}
    assert names == {each.name for each in REQUEST_FIELDS} - {"num_frames", "fps", "first_frame"}


@each_field
def test_the_video_that_comes_back_has_the_field(declared: RequestField) -> None:
    assert (declared.api_name in Video.model_fields) is (declared.type is not Path)


def test_the_json_of_a_job_says_what_was_asked_for(tmp_path: Path) -> None:
    card = find("embedded")
    assert card is not None
    request = card.complete(Request("a red ball", negative_prompt="blur", num_steps=3, seed=7))
    with closing(open_job_queue(tmp_path / "jobs.sqlite")) as job_queue:
        job = job_queue.submit(new_job(request=JobRequest(request=request).to_json()))
    said = job_json(job)
    for declared in REQUEST_FIELDS:
        if declared.type is not Path:
            assert said[declared.api_name] == request.to_json()[declared.name]


@each_field
def test_a_file_says_it(declared: RequestField) -> None:
    provenance = provenance_of("embedded", request_with(declared))
    said = {**json.loads(provenance.to_json()), **provenance.extra}
    value = "first.png" if declared.type is Path else declared.to_json(EXAMPLES[declared.type])
    assert said[declared.name] == value


def test_python_takes_the_fields_with_their_types() -> None:
    hints = get_type_hints(RequestOptions)
    assert set(hints) == {each.name for each in REQUEST_FIELDS if not each.is_required}
    assert "fields" in inspect.signature(reelgrid.generate).parameters


CHECK = """
import json, sys
import typer.main
from reelgrid.api.fields import VideoFields
from reelgrid.api.schemas import Video
from reelgrid.cli.app import app
from reelgrid.media.provenance import provenance_of
from reelgrid.spec import Request
request = Request.from_json(Request("x", strength=0.5).to_json())
(option,) = [
    each for each in typer.main.get_command(app).commands["generate"].params
    if each.name == "strength"
]
print(json.dumps({
    "body": VideoFields(prompt="x", strength="0.5").request_values()["strength"],
    "schema": VideoFields.model_json_schema()["properties"]["strength"]["anyOf"][0],
    "answer": "strength" in Video.model_fields,
    "option": option.opts,
    "file": provenance_of("embedded", request).extra["strength"],
}))
"""


def test_the_field_that_the_page_adds_is_everywhere(tmp_path: Path) -> None:
    source = Path(reelgrid.__file__).parent
    shutil.copytree(source, tmp_path / "reelgrid", ignore=shutil.ignore_patterns("__pycache__"))
    page = PAGE.read_text(encoding="utf-8")
    declaration = re.search(r"```python\n( +strength: .*?)```", page, re.DOTALL)
    assert declaration is not None
    spec = tmp_path / "reelgrid" / "spec.py"
    text = spec.read_text(encoding="utf-8")
    before = "    first_frame: Path | None = field("
    assert text.count(before) == 1
    added = textwrap.indent(textwrap.dedent(declaration[1]), "    ")
    spec.write_text(text.replace(before, added + before), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", CHECK],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said == {
        "body": 0.5,
        "schema": {"type": "number", "minimum": 0.0, "maximum": 1.0},
        "answer": True,
        "option": ["--strength"],
        "file": 0.5,
    }
