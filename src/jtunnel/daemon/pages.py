"""Short-lived pages that take a browser to a URL with a token, so that no program's arguments hold it."""

from __future__ import annotations

import asyncio
import contextlib
import glob
import html
import json
import os
import secrets
from typing import Final

#: Seconds after which a page is removed; a browser reads it at once.
LIFETIME_S: Final = 60.0

#: The script comes last: Chromium reads no further, and shows what it has read by then.
_PAGE: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark"><title>Opening JupyterLab</title>
<noscript><meta http-equiv="refresh" content="0; url={attribute}"></noscript></head>
<body><p>{words} <a href="{attribute}">Go on</a></p>
<script>location.replace({script});</script></body></html>
"""
_OPENS: Final = "JupyterLab opens in this tab."
#: Seen for long only where the browser has no connection left for this tab: other tabs wait as well.
_WAITS: Final = "The tunnel is being reconnected. JupyterLab opens in this tab as soon as it is back."


class Pages:
    """Writes redirect pages, 0600, into the runtime directory, and removes them."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self.clear()

    def write(self, url: str, *, waits: bool = False) -> str:
        """Write a page that goes to `url`, which may answer late where it `waits`; return its path."""
        path = os.path.join(self._directory, f"open-{secrets.token_hex(8)}.html")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            script = json.dumps(url).replace("<", "\\u003c")
            words = _WAITS if waits else _OPENS
            file.write(_PAGE.format(attribute=html.escape(url), script=script, words=words))
        asyncio.get_running_loop().call_later(LIFETIME_S, _remove, path)
        return path

    def clear(self) -> None:
        """Remove every page, those of a daemon that was killed included."""
        for path in glob.glob(os.path.join(glob.escape(self._directory), "open-*.html")):
            _remove(path)


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
