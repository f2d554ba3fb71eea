"""`reelgrid webhook-secret`: what a receiver needs to know that a message comes from this server."""

import sys
from typing import Annotated

import typer

from reelgrid.cli.work import read_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("webhook-secret")(webhook_secret)


def webhook_secret(
    key: Annotated[
        str, typer.Argument(help="Id of an API key (reelgrid keys); `local` without keys.")
    ] = "local",
) -> None:
    """Print the secret that a key's webhooks are signed with, for `client.webhooks.unwrap`."""
    from reelgrid.jobs.webhook import read_master, secret_of

    sys.stdout.write(f"{secret_of(read_master(read_settings().data), key)}\n")
