"""`reelgrid serve`: the server, its workers, and what they stand on, in one command."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from reelgrid import logs
from reelgrid.cli import options
from reelgrid.cli.options import read_settings

DEFAULT_PORT = 8000


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve")(serve)


def serve(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="A name or hub id of the catalogue; again for more. The first is the default."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="0 takes any that is free.")
    ] = DEFAULT_PORT,
    workers: Annotated[int, typer.Option(min=0, max=64, help="Worker processes.")] = 1,
    standby: Annotated[
        bool,
        typer.Option(help="Keep a process ready that takes a dead worker's place; 0.35 GB."),
    ] = True,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    database: Annotated[
        str | None, typer.Option(help="postgresql://..., or a file; REELGRID_DATABASE.")
    ] = None,
    blobs: Annotated[
        str | None, typer.Option(help="A folder, or s3://bucket/prefix; REELGRID_BLOBS.")
    ] = None,
    require_key: Annotated[
        bool, typer.Option("--require-key", help="Ask for a key on this machine too.")
    ] = False,
    retain_days: Annotated[
        float | None,
        typer.Option(min=0.001, help="Days that videos are kept; REELGRID_RETAIN_VIDEOS_S."),
    ] = None,
    quota_gb: Annotated[
        float | None, typer.Option(min=0.001, help="For all files; REELGRID_QUOTA_GB.")
    ] = None,
    price: Annotated[
        float | None, typer.Option(min=0, help="USD for an hour of a worker, for estimates.")
    ] = None,
    max_pixels: Annotated[int | None, typer.Option(min=1, help="Of one frame.")] = None,
    max_frames: Annotated[int | None, typer.Option(min=1, help="Of one clip.")] = None,
    max_steps: Annotated[int | None, typer.Option(min=1, help="Of one request.")] = None,
    max_seconds: Annotated[
        float | None, typer.Option(min=1, help="Estimated work of one request.")
    ] = None,
    max_queue_s: Annotated[
        float | None, typer.Option(min=1, help="Estimated wait; beyond it, 429.")
    ] = None,
    max_body_mib: Annotated[float | None, typer.Option(min=0.01, help="Of one request.")] = None,
    json_logs: Annotated[bool, typer.Option("--json-logs", help="Logs as JSON lines.")] = False,
    trace: Annotated[
        Path | None, typer.Option(help="File for the workers' steps and saves.", hidden=True)
    ] = None,
) -> None:
    """Serve videos and images over HTTP, compatible with the openai package.

    Jobs outlive every crash: started again, the server takes up what was begun. Ctrl-C saves what
    runs and leaves.
    """
    from reelgrid.cli.wiring import ServeConfig, run

    settings = read_settings()
    if json_logs:
        logs.configure(settings.log_level, as_json=True)
    retention = {
        "retain_videos_s": None if retain_days is None else retain_days * 86_400,
        "quota_gb": quota_gb,
    }
    limits = {
        "max_pixels": max_pixels,
        "max_frames": max_frames,
        "max_steps": max_steps,
        "max_seconds": max_seconds,
        "max_queue_s": max_queue_s,
        "max_body_bytes": None if max_body_mib is None else int(max_body_mib * 2**20),
    }
    run(
        ServeConfig(
            settings=settings.model_copy(update=_given(retention)),
            models=tuple(model or ["embedded"]),
            host=host,
            port=port,
            num_workers=workers,
            has_standby=standby,
            device=device,
            dtype=dtype,
            database=database or settings.database_url,
            blobs=blobs or settings.blobs_url,
            usd_per_gpu_h=price,
            limits=_given(limits),
            requires_key=require_key,
            trace=trace,
        )
    )


def _given(options: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in options.items() if value is not None}
