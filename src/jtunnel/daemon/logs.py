"""The daemon's log: dated in UTC, rotated, readable by its owner only, without tokens."""

from __future__ import annotations

import logging
import logging.handlers
import os
import re
import sys
from datetime import UTC, datetime
from typing import Final

_FILE_BYTES: Final = 2 * 1024 * 1024
_FILES_KEPT: Final = 3
_TOKEN: Final = re.compile(r"(?i)(token[=\s:]+)[0-9a-z_-]{8,}")


class _Formatter(logging.Formatter):
    """`2026-11-22T04:00:00.123Z info    [gpu] text`; lines of no tunnel have no bracket."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        tunnel = getattr(record, "tunnel", None)
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        # Nothing logs a token on purpose; this is for what other libraries might say.
        text = _TOKEN.sub(r"\1…", text)
        return f"{time}Z {record.levelname.lower():<7} {f'[{tunnel}] ' if tunnel else ''}{text}"


class _PrivateFile(logging.handlers.RotatingFileHandler):
    """A rotating file that is created 0600."""

    def _open(self):  # type: ignore[no-untyped-def]
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        return os.fdopen(descriptor, "a", encoding="utf-8")


def start_logging(path: str, *, to_terminal: bool) -> None:
    """Send all logging to the file, and to standard error where somebody reads that."""
    handlers: list[logging.Handler] = [
        _PrivateFile(path, maxBytes=_FILE_BYTES, backupCount=_FILES_KEPT, encoding="utf-8")
    ]
    if to_terminal:
        handlers.append(logging.StreamHandler(sys.stderr))
    # A full disk must not fill standard error with tracebacks, one for each line.
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.setLevel(logging.INFO)
    for handler in handlers:
        handler.setFormatter(_Formatter())
        root.addHandler(handler)
    # asyncssh tells of each channel at level info.
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
