"""`reelgrid serve`: the API server with its worker processes; `wiring` builds it."""

from reelgrid.cli import options
from reelgrid.cli.serve_config import ServeConfig


@options.from_fields(ServeConfig)
def serve(config: ServeConfig) -> None:
    """Serve videos and images over an OpenAI-compatible API.

    Jobs survive crashes: after a restart the server resumes unfinished jobs from their
    checkpoints. Ctrl-C saves checkpoints of the running jobs and stops the server.
    """
    from reelgrid import logs
    from reelgrid.cli.wiring import run

    settings = options.read_settings()
    if config.json_logs:
        logs.configure(settings.log_level, as_json=True)
    run(config, settings.model_copy(update=config.settings))
