"""Logging: text on stderr, or JSON lines; configured once by the main program, never on import."""

import json
import logging
from typing import Final

_TEXT: Final = "%(levelname)s %(name)s: %(message)s"
_PLAIN_FIELDS: Final = frozenset(vars(logging.makeLogRecord({})))


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object, with the fields that were passed as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        extra = {key: value for key, value in vars(record).items() if key not in _PLAIN_FIELDS}
        line = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **extra,
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(level: str, *, as_json: bool = False) -> None:
    """Send log records of `level` and above to stderr, replacing any earlier configuration."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if as_json else logging.Formatter(_TEXT))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    if level != "DEBUG":
        for name in ("diffusers", "transformers", "py.warnings", "libav"):
            logging.getLogger(name).setLevel(logging.ERROR)
