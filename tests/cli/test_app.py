import inspect
import subprocess
import sys

import typer

import reelgrid as package
from reelgrid.cli.app import app, run

HEAVY = ("torch", "diffusers", "transformers", "numpy", "rich", "av", "PIL")
IMPORTED = """
import sys
from reelgrid.cli.app import run
code = run(sys.argv[1:])
print([name for name in {heavy!r} if name in sys.modules], code)
"""


def test_help_imports_no_large_package():
    for words in (["--help"], ["generate", "--help"], ["models"], ["--version"]):
        script = IMPORTED.format(heavy=HEAVY)
        done = subprocess.run(
            [sys.executable, "-c", script, *words], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[] 0", words


def test_version_is_the_packages(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"reelgrid {package.__version__}\n"


def test_without_arguments_it_prints_its_help(capsys):
    assert run([]) == 0
    assert "generate" in capsys.readouterr().out


def test_the_package_and_the_module_both_start_it():
    for start in (["-m", "reelgrid"], ["-c", "from reelgrid.__main__ import main; main()"]):
        done = subprocess.run(
            [sys.executable, *start, "--version"], capture_output=True, text=True, check=True
        )
        assert done.stdout.startswith("reelgrid ")


def test_a_closed_stdout_is_no_traceback():
    command = f"{sys.executable} -m reelgrid plan models >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def functions_of(group, prefix=""):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from functions_of(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", inspect.unwrap(command.callback)


def test_a_command_parses_calls_and_prints_in_under_25_lines():
    lines = {
        name: len(inspect.getsource(function).splitlines())
        for name, function in functions_of(typer.main.get_command(app))
    }
    assert len(lines) > 20
    assert {name: number for name, number in lines.items() if number >= 25} == {}
