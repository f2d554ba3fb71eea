"""`reelgrid keys` and `reelgrid webhook-secret`: API keys, their limits and their secrets."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reelgrid.cli import options
from reelgrid.cli.job_access import open_queue
from reelgrid.cli.output import count_of, local_time, print_json, print_table, print_text, say
from reelgrid.report.table import Column, Table

if TYPE_CHECKING:
    from reelgrid.jobs.sql.keys import ApiKey

keys = options.group("keys", "Create, list and revoke API keys.")


@dataclass(frozen=True, slots=True)
class NewKey:
    """Options of `reelgrid keys create`."""

    name: Annotated[str, typer.Argument(help="Name that `keys list` shows.")]
    max_pixels: options.MaxPixels = None
    max_frames: options.MaxFrames = None
    max_steps: options.MaxSteps = None
    max_jobs: Annotated[
        int | None, typer.Option(min=1, help="Most unfinished jobs at the same time.")
    ] = None
    max_gpu_seconds: Annotated[
        float | None, typer.Option(min=1, help="Most GPU-seconds per day, from midnight UTC.")
    ] = None
    database: options.Database = None
    as_json: options.Json = False


@keys.command("create")
@options.from_fields(NewKey)
def create(new: NewKey) -> None:
    """Create a key and print its secret.

    The secret is not stored and cannot be shown again.
    """
    from reelgrid.jobs.job import KeyLimits
    from reelgrid.jobs.sql.keys import ApiKeys

    limits = KeyLimits(
        max_pixels=new.max_pixels,
        max_frames=new.max_frames,
        max_steps=new.max_steps,
        max_jobs=new.max_jobs,
        max_gpu_s_per_day=new.max_gpu_seconds,
    )
    with open_queue(new.database) as job_queue:
        key, secret = ApiKeys(job_queue.database).create(new.name, limits)
    if new.as_json:
        print_json(_to_json(key) | {"secret": secret})
    else:
        say(f"{key.id}, {key.name}: store the secret, it is not shown again")
        print_text(secret)


@keys.command("list")
def list_keys(database: options.Database = None, as_json: options.Json = False) -> None:
    """List the keys and what each has used today."""
    from reelgrid.jobs.sql.keys import ApiKeys

    with open_queue(database) as job_queue:
        found = ApiKeys(job_queue.database).list()
        today = datetime.fromtimestamp(job_queue.now(), tz=UTC).date()
        used = {each.owner: each.gpu_s for each in job_queue.usage(since=today)}
    entries = [_to_json(key) | {"gpu_seconds_today": used.get(key.id, 0.0)} for key in found]
    if not as_json:
        _print_list(entries)
    for entry in entries if as_json else ():
        print_json(entry)


@keys.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="Name or id of the key, or start of its secret.")],
    database: options.Database = None,
) -> None:
    """Revoke a key; jobs that were submitted with it continue."""
    from reelgrid.jobs.sql.keys import ApiKeys

    with open_queue(database) as job_queue:
        key = ApiKeys(job_queue.database).revoke(name)
    say(f"{key.id}, {key.name}: revoked")


def print_webhook_secret(
    key: Annotated[
        str, typer.Argument(help="Id of an API key; `local` if the server has no keys.")
    ] = "local",
) -> None:
    """Print the secret that signs the webhooks of a key.

    `client.webhooks.unwrap` of the openai package verifies them with it.
    """
    from reelgrid.jobs.webhooks import read_master_key, webhook_secret

    print_text(webhook_secret(read_master_key(options.read_settings().data), key))


def _to_json(key: "ApiKey") -> dict[str, Any]:
    limits = {name: value for name, value in asdict(key.limits).items() if value is not None}
    return asdict(key) | {"limits": limits}


def _print_list(entries: list[dict[str, Any]]) -> None:
    columns = (
        "name",
        "id",
        "secret",
        "limits",
        Column(title="today", unit="GPU-s"),
        "last used",
        "",
    )
    rows = [
        (
            entry["name"],
            entry["id"],
            f"{entry['prefix']}...",
            ", ".join(f"{name} {value:g}" for name, value in entry["limits"].items()) or "none",
            entry["gpu_seconds_today"],
            local_time(entry["used_at"]) or "never",
            "revoked" if entry["revoked_at"] else "",
        )
        for entry in entries
    ]
    print_table(Table(title=count_of(len(rows), "key"), columns=columns, rows=rows))
