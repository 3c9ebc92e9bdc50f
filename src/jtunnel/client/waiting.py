"""`wait`: returns once tunnels are up, or down, as somebody else brings about. It asks for nothing itself."""

from __future__ import annotations

import sys
import time

from jtunnel.client import terminal
from jtunnel.client.feed import Feed, selection
from jtunnel.client.views import render
from jtunnel.client.views.progress import Progress
from jtunnel.errors import EXIT_BLOCKED, EXIT_DONE, EXIT_FAILED, EXIT_NO_DAEMON

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from jtunnel.status import TunnelStatus

#: How long a daemon that has ended may take to come back, as it does when it is renewed.
RETURN_S: Final = 15.0
_TICK_S: Final = 1.0


def wait_for(
    environ: Mapping[str, str],
    *,
    names: Sequence[str],
    tags: Sequence[str],
    goal: str,
    timeout_s: float | None,
) -> int:
    """Wait until tunnels are `goal`, `up` or `down`; return the exit code.

    0 when all are, 4 as soon as one that should come up needs a person, 1 when time is up or one is gone
    from the config, 3 where no daemon runs, or none has come back. Without names and tags it means all
    that are wanted or, to be down, all there are.
    """
    with Feed(environ, selection(names, tags)) as feed:
        feed.start()
        assert feed.document is not None
        known = [tunnel["name"] for tunnel in feed.document["tunnels"]]
        if goal == "up" and not (names or tags):
            known = [tunnel["name"] for tunnel in feed.document["tunnels"] if tunnel["wanted"]]
            if not known:
                terminal.say("no tunnel is wanted; want one with: jtunnel up NAME")
                return EXIT_FAILED
        return _Wait(feed, known, goal, environ).run(timeout_s)


class _Wait:
    """Follows some tunnels until each has come where it should."""

    def __init__(self, feed: Feed, names: Sequence[str], goal: str, environ: Mapping[str, str]) -> None:
        self._feed = feed
        self._names = names
        self._goal = goal
        # A script's log has no use for what goes as it should.
        self._progress = Progress(environ) if terminal.can_repaint(sys.stderr, environ) else None
        self._tunnels: dict[str, TunnelStatus] = {}

    def run(self, timeout_s: float | None) -> int:
        """Wait; say how it went, unless it went well and nobody looks; return the exit code."""
        try:
            code = self._wait(timeout_s)
        finally:
            if self._progress:
                self._progress.clear()
        if code == EXIT_DONE and terminal.is_terminal(sys.stdout):
            for name in self._names:
                where = f"  {', '.join(render.places(self._tunnels[name]))}" if self._goal == "up" else ""
                terminal.put(f"{name}  {self._goal}{where}")
        return code

    def _wait(self, timeout_s: float | None) -> int:
        give_up_at = None if timeout_s is None else time.monotonic() + timeout_s
        lost_at: float | None = None
        while True:
            if self._feed.document is None:
                lost_at = lost_at or time.monotonic()
            else:
                lost_at = None
                self._tunnels = {tunnel["name"]: tunnel for tunnel in self._feed.document["tunnels"]}
                if (code := self._judge()) is not None:
                    return code
            now = time.monotonic()
            if lost_at is not None and now - lost_at > RETURN_S:
                terminal.say(f"{self._feed.problem}")
                return EXIT_NO_DAEMON
            if give_up_at is not None and now >= give_up_at:
                return self._give_up(timeout_s or 0.0)
            if self._progress:
                self._progress.show(list(self._tunnels.values()), time.time())
            self._feed.wait(_TICK_S if give_up_at is None else min(_TICK_S, give_up_at - now))

    def _judge(self) -> int | None:
        """The exit code, once it is known."""
        for name in self._names:
            tunnel = self._tunnels.get(name)
            if self._goal == "up" and tunnel is None:
                return self._end(EXIT_FAILED, f"{name}: gone from the config; see: jtunnel status")
            if self._goal == "up" and tunnel and tunnel["state"] == "blocked":
                why = render.problem_text(tunnel["problem"]) if tunnel["problem"] else "blocked"
                return self._end(EXIT_BLOCKED, f"{name}: {why}")
        return EXIT_DONE if all(map(self._is_there, self._names)) else None

    def _is_there(self, name: str) -> bool:
        tunnel = self._tunnels.get(name)
        # One that is gone from the config is down for good.
        return self._goal == "down" if tunnel is None else tunnel["state"] == self._goal

    def _give_up(self, timeout_s: float) -> int:
        for name in self._names:
            if not self._is_there(name):
                tunnel = self._tunnels.get(name)
                doing = render.activity(tunnel) if tunnel else "no word from the daemon"
                advice = f"jtunnel {self._goal} {name}" if self._is_idle(tunnel) else f"jtunnel status {name}"
                self._say(f"{name}: not {self._goal} after {timeout_s:g} s ({doing}): {advice}")
        return EXIT_FAILED

    def _is_idle(self, tunnel: TunnelStatus | None) -> bool:
        """Whether nothing is under way towards the goal, so that it has to be asked for."""
        return tunnel is not None and tunnel["wanted"] == (self._goal == "down")

    def _end(self, code: int, words: str) -> int:
        self._say(words)
        return code

    def _say(self, words: str) -> None:
        if self._progress:
            self._progress.clear()
        terminal.say(words)
