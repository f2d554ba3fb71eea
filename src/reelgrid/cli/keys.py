"""`reelgrid keys`: who may use the server, and how much."""

import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from reelgrid.cli import options
from reelgrid.cli.job_access import Address, open_queue
from reelgrid.cli.output import say

if TYPE_CHECKING:
    from reelgrid.jobs.sql.keys import ApiKey

keys = typer.Typer(
    name="keys",
    help="API keys: make, list and revoke them.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(keys)


@keys.command("create")
def create(
    name: Annotated[str, typer.Argument(help="For people; the list shows it.")],
    max_pixels: Annotated[int | None, typer.Option(min=1, help="Of one frame.")] = None,
    max_frames: Annotated[int | None, typer.Option(min=1, help="Of one clip.")] = None,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Of one request.")] = None,
    max_jobs: Annotated[int | None, typer.Option(min=1, help="Unfinished at a time.")] = None,
    max_gpu_seconds: Annotated[
        float | None, typer.Option(min=1, help="A day, from midnight UTC.")
    ] = None,
    database: Address = None,
    as_json: options.Json = False,
) -> None:
    """Make a key and print its secret, which is not kept and cannot be shown again."""
    from reelgrid.jobs.job import KeyLimits
    from reelgrid.jobs.sql.keys import ApiKeys

    limits = KeyLimits(
        max_pixels=max_pixels,
        max_frames=max_frames,
        max_steps=max_steps,
        max_jobs=max_jobs,
        max_gpu_s_per_day=max_gpu_seconds,
    )
    with open_queue(database) as job_queue:
        key, secret = ApiKeys(job_queue.database).create(name, limits)
    if as_json:
        _print_json(_view(key) | {"secret": secret})
        return
    say(f"{key.id}, {name}: keep the secret, it is not shown again")
    sys.stdout.write(f"{secret}\n")


@keys.command("list")
def list_keys(database: Address = None, as_json: options.Json = False) -> None:
    """List the keys, with what they used today."""
    from reelgrid.jobs.sql.keys import ApiKeys

    with open_queue(database) as job_queue:
        found = ApiKeys(job_queue.database).list()
        today = datetime.fromtimestamp(job_queue.now(), tz=UTC).date()
        used = {each.owner: each for each in job_queue.usage(since=today)}
    views = [
        _view(key) | {"gpu_seconds_today": used[key.id].gpu_s if key.id in used else 0.0}
        for key in found
    ]
    if as_json:
        for view in views:
            _print_json(view)
        return
    _print_table(views)


@keys.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(help="The key's name, id, or the start of its secret.")],
    database: Address = None,
) -> None:
    """Refuse a key from now on; the jobs that were asked for with it go on."""
    from reelgrid.jobs.sql.keys import ApiKeys

    with open_queue(database) as job_queue:
        key = ApiKeys(job_queue.database).revoke(name)
    say(f"{key.id}, {key.name}: revoked")


def _view(key: "ApiKey") -> dict[str, Any]:
    limits = {name: value for name, value in asdict(key.limits).items() if value is not None}
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "limits": limits,
        "created_at": key.created_at,
        "used_at": key.used_at,
        "revoked_at": key.revoked_at,
    }


def _print_table(views: list[dict[str, Any]]) -> None:
    from reelgrid.cli.job_access import count_of, local_time
    from reelgrid.cli.output import print_table
    from reelgrid.report.table import Column, Table

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
            view["name"],
            view["id"],
            f"{view['prefix']}...",
            ", ".join(f"{name} {value:g}" for name, value in view["limits"].items()) or "none",
            view["gpu_seconds_today"],
            local_time(view["used_at"]) or "never",
            "revoked" if view["revoked_at"] else "",
        )
        for view in views
    ]
    print_table(Table(title=count_of(len(rows), "key"), columns=columns, rows=rows))


def _print_json(value: dict[str, Any]) -> None:
    from reelgrid.cli.output import print_json

    print_json(value)
