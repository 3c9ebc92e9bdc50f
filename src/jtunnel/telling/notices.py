"""Shows notifications on the desktop, by notify-send or, on macOS, osascript. What and when is `desktop`'s.

A newer notification of the same slot takes the place of the older, on the screen and in the queue.
"""

from __future__ import annotations

import asyncio
import html
import logging
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from jtunnel.errors import one_line
from jtunnel.telling.children import Children, Ended

_TIMEOUT_S: Final = 10.0
_log = logging.getLogger(__name__)

#: The texts are arguments: within the script they would be code.
_OSASCRIPT: Final = (
    "on run argv",
    "display notification (item 2 of argv) with title (item 1 of argv)",
    "end run",
)


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification; `slot` is the kind of thing it tells of."""

    slot: str
    title: str
    body: str
    urgency: Literal["normal", "critical"]


class Notices:
    """Shows one after another, in a task of `tasks`; what cannot be shown is said once in the log."""

    def __init__(self, tasks: asyncio.TaskGroup, children: Children, environ: Mapping[str, str]) -> None:
        self._tasks = tasks
        self._children = children
        self._environ = environ
        self._waiting: dict[str, Notice] = {}
        self._ids: dict[str, str] = {}
        self._work: asyncio.Task[None] | None = None
        self._replaces = True
        self._complains = True

    def show(self, notice: Notice) -> None:
        """Show it soon."""
        self._waiting.pop(notice.slot, None)
        self._waiting[notice.slot] = notice
        if self._work is None:
            self._work = self._tasks.create_task(self._show_all())

    async def close(self) -> None:
        """End what runs."""
        self._waiting.clear()
        if self._work is not None:
            self._work.cancel()
            await asyncio.wait([self._work])

    async def _show_all(self) -> None:
        try:
            while self._waiting:
                await self._show(self._waiting.pop(next(iter(self._waiting))))
        finally:
            self._work = None

    async def _show(self, notice: Notice) -> None:
        try:
            ended = await (self._by_osascript if sys.platform == "darwin" else self._by_notify_send)(notice)
        except OSError as error:
            self._complain(f"cannot run {error.filename}: {error.strerror}")
        except Exception:  # noqa: BLE001  (a bug here must not end the tunnels)
            _log.exception("a notification failed")
        else:
            if ended.late:
                self._complain(f"it took longer than {_TIMEOUT_S:.0f} s")
            elif ended.code:
                self._complain(one_line(ended.output) or f"exit code {ended.code}")

    async def _by_osascript(self, notice: Notice) -> Ended:
        script = [word for line in _OSASCRIPT for word in ("-e", line)]
        return await self._run("osascript", *script, notice.title, notice.body)

    async def _by_notify_send(self, notice: Notice) -> Ended:
        # Its body is markup (Desktop Notifications Specification), and notify-send takes \n and the like for
        # control characters in it.
        body = html.escape(notice.body, quote=False).replace("\\", "\\\\")
        words = [
            "--app-name=jtunnel",
            f"--urgency={notice.urgency}",
            "--category=network",
            "--",
            notice.title,
            body,
        ]
        if self._replaces:
            known = self._ids.get(notice.slot)
            replacing = ["--print-id", *([f"--replace-id={known}"] if known else [])]
            ended = await self._run("notify-send", *replacing, *words)
            if not ended.code and not ended.late:
                self._ids[notice.slot] = found if (found := ended.output.strip()).isdecimal() else ""
            if not ended.code or ended.late or "-id" not in ended.output:
                return ended
            # libnotify before 0.8 knows no numbers.
            self._replaces = False
        return await self._run("notify-send", *words)

    async def _run(self, program: str, *arguments: str) -> Ended:
        path = shutil.which(program, path=self._environ.get("PATH", os.defpath))
        if path is None:
            raise FileNotFoundError(2, "it is not installed", program)
        return await self._children.run([path, *arguments], self._bus(), timeout_s=_TIMEOUT_S)

    def _bus(self) -> dict[str, str]:
        """Where the session bus is: a daemon that began before the desktop was not told."""
        if self._environ.get("DBUS_SESSION_BUS_ADDRESS"):
            return {}
        runtime = self._environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
        bus = os.path.join(runtime, "bus")
        return {"DBUS_SESSION_BUS_ADDRESS": f"unix:path={bus}"} if os.path.exists(bus) else {}

    def _complain(self, why: str) -> None:
        if self._complains:
            self._complains = False
            _log.warning("no notification could be shown: %s", why, extra={"tunnel": "*"})
