"""Options of `reelgrid serve`, as one value."""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from reelgrid.cli import options


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeConfig:
    """Options of `reelgrid serve`; `None` means the setting or the server's own default."""

    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Model to serve: a name or Hugging Face id of the catalogue. Give the option "
            "again for more models; the first is the default. If it is missing, the embedded "
            "model is served."
        ),
    ] = None
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1"
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes any free port.")
    ] = 8000
    workers: Annotated[int, typer.Option(min=0, max=64, help="Number of worker processes.")] = 1
    standby: Annotated[
        bool,
        typer.Option(
            help="Keep a standby process that replaces a dead worker at once; it takes 0.35 GB."
        ),
    ] = True
    device: options.Device = "auto"
    dtype: options.Dtype = "auto"
    database: options.Database = None
    blobs: Annotated[
        str | None,
        typer.Option(
            help="Store for files: a folder or s3://bucket/prefix. Overrides REELGRID_BLOBS."
        ),
    ] = None
    require_key: Annotated[
        bool, typer.Option("--require-key", help="Require an API key from local clients too.")
    ] = False
    retain_days: Annotated[
        float | None,
        typer.Option(
            min=0.001, help="Days to keep finished videos. Overrides REELGRID_RETAIN_VIDEOS_S."
        ),
    ] = None
    quota_gb: Annotated[
        float | None,
        typer.Option(min=0.001, help="Most GB for all files. Overrides REELGRID_QUOTA_GB."),
    ] = None
    price: Annotated[
        float | None,
        typer.Option(min=0, help="Price of one worker-hour in USD, for cost estimates."),
    ] = None
    max_pixels: options.MaxPixels = None
    max_frames: options.MaxFrames = None
    max_steps: options.MaxSteps = None
    max_work_s: Annotated[
        float | None, typer.Option(min=1, help="Most estimated seconds of work of one request.")
    ] = None
    max_queue_s: Annotated[
        float | None,
        typer.Option(min=1, help="Longest estimated wait in seconds; beyond it, 429 is returned."),
    ] = None
    max_body_mib: Annotated[
        float | None, typer.Option(min=0.01, help="Largest body of one request in MiB.")
    ] = None
    json_logs: Annotated[
        bool, typer.Option("--json-logs", help="Write the logs as JSON lines.")
    ] = False
    trace: Annotated[
        Path | None,
        typer.Option(help="File for an event trace of steps and checkpoints.", hidden=True),
    ] = None

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def may_be_open(self) -> bool:
        """Whether requests need no API key as long as no key exists."""
        return self.is_loopback and not self.require_key

    @property
    def settings(self) -> dict[str, object]:
        """Values that override fields of `Settings`."""
        retain_s = self.retain_days and self.retain_days * 86_400
        values = {"retain_videos_s": retain_s, "quota_gb": self.quota_gb}
        return _given({"database": self.database, "blobs": self.blobs, **values})

    @property
    def limits(self) -> dict[str, object]:
        """Values that override fields of `ServerLimits`."""
        names = ("max_pixels", "max_frames", "max_steps", "max_work_s", "max_queue_s")
        max_body_bytes = self.max_body_mib and int(self.max_body_mib * 2**20)
        return _given(
            {name: getattr(self, name) for name in names} | {"max_body_bytes": max_body_bytes}
        )


def _given(values: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}
