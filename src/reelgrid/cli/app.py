"""The `reelgrid` command: its subcommands, and what becomes of errors."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

import reelgrid
from reelgrid.cli import (
    bench,
    generate,
    jobs,
    keys,
    models,
    plan,
    resume,
    serve,
    sign,
    simulate,
    train,
    verify,
    webhooks,
)
from reelgrid.errors import ReelgridError

_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

app = typer.Typer(
    name="reelgrid",
    help="Text to video on every GPU you can get.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
generate.register(app)
resume.register(app)
models.register(app)
bench.register(app)
train.register(app)
sign.register(app)
verify.register(app)
webhooks.register(app)
serve.register(app)
jobs.register(app)
keys.register(app)
plan.register(app)
simulate.register(app)


def run(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code of a command line that was run; errors become one line on stderr.

    Args:
        arguments: Those after the command's name; the process's own where none are given.
    """
    try:
        words = list(sys.argv[1:] if arguments is None else arguments)
        return int(app(words or ["--help"], standalone_mode=False) or 0)
    except typer.BadParameter as error:
        return _say(f"{error.format_message()}; see reelgrid --help", error.exit_code)
    except typer.TyperException as error:
        return _say(f"{error}; see reelgrid --help", getattr(error, "exit_code", 2))
    except ReelgridError as error:
        return _say(f"{error}", error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _say("stopped", _INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:  # the machine refuses: a full disk, a folder that is read-only
        return _say(f"{error.filename or 'the system'}: {error.strerror or error}", 1)


def _say(message: str, exit_code: int) -> int:
    one_line = " ".join(message.split())
    if one_line:
        sys.stderr.write(f"reelgrid: {one_line}\n")
    return exit_code


def _print_version(*, is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"reelgrid {reelgrid.__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=lambda value: _print_version(is_wanted=value),
            help="Print the version and leave.",
        ),
    ] = False,
) -> None:
    """Text to video on every GPU you can get."""
