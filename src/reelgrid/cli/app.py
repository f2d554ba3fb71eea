"""The `reelgrid` command line: registers the commands, turns errors into exit codes."""

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
)
from reelgrid.errors import ReelgridError

_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

app = typer.Typer(
    name="reelgrid",
    help="Generate, serve and plan text-to-video.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("generate")(generate.generate)
app.command("resume")(resume.resume)
app.command("models")(models.models)
app.command("bench")(bench.bench)
app.command("train")(train.train)
app.command("evaluate")(train.evaluate)
app.command("sign")(sign.sign_files)
app.command("verify")(verify.verify_file)
app.command("serve")(serve.serve)
app.add_typer(jobs.jobs)
app.add_typer(keys.keys)
app.command("webhook-secret")(keys.print_webhook_secret)
app.add_typer(plan.plan)
app.command("simulate")(simulate.simulate)


def run(arguments: Sequence[str] | None = None) -> int:
    """Return the exit code of a command line after running it; errors become one line on stderr.

    Args:
        arguments: Words after the command's name; `None` takes those of the process.
    """
    try:
        arguments = list(sys.argv[1:] if arguments is None else arguments)
        return int(app(arguments or ["--help"], standalone_mode=False, prog_name="reelgrid") or 0)
    except typer.TyperException as error:
        return _say(_usage_message(error), getattr(error, "exit_code", 2))
    except ReelgridError as error:
        return _say(f"{error}", error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _say("stopped", _INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:  # from the system: a full disk, a folder that is read-only
        return _say(f"{error.filename or 'the system'}: {error.strerror or error}", 1)


def _usage_message(error: typer.TyperException) -> str:
    """Return what is wrong with the command line, and the help that shows what is right."""
    what = error.format_message().replace(": Value error, ", ": ").removesuffix(".")
    context = getattr(error, "ctx", None)
    command = "reelgrid" if context is None else context.command_path
    return f"{what}; see {command} --help"


def _say(message: str, exit_code: int) -> int:
    one_line = " ".join(message.split())
    if one_line:
        sys.stderr.write(f"reelgrid: {one_line}\n")
    return exit_code


def _print_version(*, is_requested: bool) -> None:
    if is_requested:
        typer.echo(f"reelgrid {reelgrid.__version__}")
        raise typer.Exit


@app.callback()
def _global_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=lambda value: _print_version(is_requested=value),
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    """Generate, serve and plan text-to-video."""
