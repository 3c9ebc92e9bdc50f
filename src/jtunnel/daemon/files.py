"""Small files of the daemon's own, replaced as a whole: a crash leaves the old one or the new one."""

from __future__ import annotations

import contextlib
import os


def replace_file(path: str, text: str) -> None:
    """Write `text` in place of a file, for its owner only. Raises OSError, and the old one stays."""
    temporary = f"{path}.new"
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
