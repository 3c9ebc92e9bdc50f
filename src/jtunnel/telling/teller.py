"""Passes on what tunnels come to, and never fails: to the history, to the user's hooks, to the desktop."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jtunnel.config.profile import Profile
from jtunnel.machine.clocks import Moment
from jtunnel.machine.clocks import now as read_clocks
from jtunnel.telling.children import Children
from jtunnel.telling.desktop import Desktop
from jtunnel.telling.history import BEAT_S, History
from jtunnel.telling.hooks import Hooks
from jtunnel.tunnel.transition import Transition

_log = logging.getLogger(__name__)


class Teller:
    """Everything it starts is a task of `tasks`, with `environ`; the history is kept in `state_dir`."""

    def __init__(
        self,
        tasks: asyncio.TaskGroup,
        environ: Mapping[str, str],
        state_dir: str,
        *,
        clocks: Callable[[], Moment] = read_clocks,
    ) -> None:
        self._children = Children(environ)
        self._history = History(os.path.join(state_dir, "history.jsonl"), clocks=clocks)
        self._hooks = Hooks(tasks, self._children)
        self._desktop = Desktop(tasks, self._children, environ, clocks=clocks)
        self._loop = asyncio.get_running_loop()
        self._beat: asyncio.TimerHandle | None = None
        self._closed = False

    def tell(self, profile: Profile, told: Transition) -> None:
        """Pass on what a tunnel has come to; quick, and without an error."""
        if self._closed:
            return
        try:
            outage = self._history.note(told)
            self._hooks.tell(profile, told, outage.seconds if outage and told.new == "up" else None)
            self._desktop.tell(profile, told)
            if self._beat is None and self._history.is_counting:
                self._beat = self._loop.call_later(BEAT_S, self._beat_now)
        except Exception:  # noqa: BLE001  (a tunnel must not end by being spoken of)
            _log.exception("what became of %s is not passed on", told.name, extra={"tunnel": told.name})

    def history(self, names: Sequence[str]) -> dict[str, Any]:
        """The result of `history` in the control protocol."""
        return self._history.show(names)

    def rename(self, old: str, new: str) -> None:
        """Give the past of one profile to another."""
        self._history.rename(old, new)

    async def close(self) -> None:
        """Note the daemon's end, and end what runs. What is told from now on is passed over."""
        self._closed = True
        if self._beat is not None:
            self._beat.cancel()
        self._history.close()
        await asyncio.gather(self._hooks.close(), self._desktop.close())
        self._children.close()

    def _beat_now(self) -> None:
        """Note that the daemon runs, where nothing else has said so for long and something is wanted."""
        self._beat = None
        if not self._history.is_counting:
            return
        left_s = BEAT_S - self._history.quiet_s
        if left_s <= 1:
            self._history.beat()
            left_s = BEAT_S
        self._beat = self._loop.call_later(left_s, self._beat_now)
