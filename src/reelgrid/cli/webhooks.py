"""`reelgrid webhook-secret`: what a receiver needs to know that a message comes from this server."""

import sys
from typing import Annotated

import typer

from reelgrid.cli.local_run import read_settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("webhook-secret")(webhook_secret)


def webhook_secret(
    key: Annotated[
        str, typer.Argument(help="Id of an API key (reelgrid keys); `local` without keys.")
    ] = "local",
) -> None:
    """Print the secret that a key's webhooks are signed with, for `client.webhooks.unwrap`."""
    from reelgrid.jobs.webhooks import read_master_key, webhook_secret

    sys.stdout.write(f"{webhook_secret(read_master_key(read_settings().data), key)}\n")
