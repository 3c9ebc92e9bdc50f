"""`status --watch`: repainted in place on a terminal, as top does, elsewhere printed when it has changed."""

from __future__ import annotations

import sys
import time

from jtunnel.client import terminal
from jtunnel.client.feed import Feed, selection
from jtunnel.client.views import render, view
from jtunnel.client.views.measures import moment, span
from jtunnel.client.views.other_config import config_warning
from jtunnel.client.views.screen import Screen, fit
from jtunnel.client.views.width import columns, cut, fold
from jtunnel.errors import EXIT_DONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Final

    from jtunnel.status import StatusDocument

#: How often relative times and traffic are brought up to date, or it is looked whether anybody reads.
_TICK_S: Final = 1.0
#: A daemon that is silent for longer is said to be.
_SILENT_S: Final = 2.0
#: What changes all the time while nothing happens: counters, and the dates of tries.
_TUNNEL_COUNTERS: Final = frozenset({"latency_ms", "attempt", "retry_at"})
_FORWARD_COUNTERS: Final = frozenset({"active", "held", "accepted", "bytes_in", "bytes_out"})
_JUPYTER_COUNTERS: Final = frozenset({"kernels", "busy", "last_activity"})


def watch(
    environ: Mapping[str, str],
    names: Sequence[str],
    tags: Sequence[str],
    *,
    as_json: bool,
    colour: str,
) -> int:
    """Show the status until q or Ctrl-C or, where it is not repainted, the daemon's end."""
    with Feed(environ, selection(names, tags)) as feed:
        feed.start()
        try:
            if not as_json and terminal.can_repaint(sys.stdout, environ):
                return _repaint(feed, environ, colour)
            return _print(feed, environ, as_json=as_json, colour=colour)
        except KeyboardInterrupt:
            return EXIT_DONE


class Meter:
    """Bytes a second, from the sums at two looks at the daemon."""

    def __init__(self) -> None:
        self.rates: dict[str, tuple[float, float]] = {}
        self._sums: dict[str, tuple[int, int]] = {}
        self._read_at = 0.0

    def read(self, document: StatusDocument, now_s: float) -> None:
        """Take the sums of now."""
        sums = {tunnel["name"]: render.traffic(tunnel) for tunnel in document["tunnels"]}
        passed_s = now_s - self._read_at
        if self._sums and passed_s <= 0:
            return
        self.rates = {}
        for name, (came, went) in sums.items():
            if before := self._sums.get(name):
                # A daemon that was started anew counts from the start.
                gained = max(0, came - before[0]), max(0, went - before[1])
                self.rates[name] = (gained[0] / passed_s, gained[1] / passed_s)
        self._sums, self._read_at = sums, now_s


class _Watcher:
    """What the screen shows, and how far it is scrolled."""

    def __init__(self, feed: Feed, screen: Screen, *, colour: bool, warning: str | None) -> None:
        self._feed = feed
        self._screen = screen
        self._colour = colour
        self._warning = warning
        self._meter = Meter()
        self._polled = 0
        self._top = 0

    def paint(self) -> None:
        """Bring the screen up to date."""
        width, height = self._screen.size
        head = [self._heading(width)]
        if self._warning is not None:
            head.append(cut(self._warning, width))
        lines = self._lines(width)
        rows = max(1, height - len(head) - 1)
        self._top = max(0, min(self._top, len(lines) - rows + 1))
        self._screen.paint([*head, "", *fit(lines, rows, self._top, width)])

    def press(self, keys: str) -> bool:
        """Act on keys; False where one of them leaves."""
        page = max(1, self._screen.size[1] - 4)
        steps = {"j": 1, "k": -1, " ": page, "b": -page}
        self._top += sum(steps.get(key, 0) for key in keys)
        return "q" not in keys.lower()

    def _heading(self, width: int) -> str:
        """How many are what and, where there is room for it, something of the daemon."""
        document = self._feed.document
        if document is None:
            return "jtunnel"
        daemon = document["daemon"]
        by = daemon.get("started_by", "hand")  # an older daemon does not say
        age = span(time.time() - moment(daemon["started_at"]))
        owner = "" if by == "hand" else f", by {by}"
        words = [view.summary(document), f"daemon {daemon['version']}, {age}{owner}"]
        if self._feed.silent_s > _SILENT_S:
            words.insert(0, f"the daemon has not answered for {span(self._feed.silent_s)}")
        whole = f"jtunnel: {'; '.join(filter(None, words))}"
        return whole if columns(whole) <= width else cut(f"jtunnel: {'; '.join(words[:-1])}", width)

    def _lines(self, width: int) -> list[str]:
        document = self._feed.document
        if document is None:
            return fold(f"{self._feed.problem}", width)
        if self._feed.polled != self._polled:
            self._polled = self._feed.polled
            self._meter.read(document, time.monotonic())
        lines = view.status_lines(
            document, time.time(), width=width, colour=self._colour, rates=self._meter.rates
        )
        # Only an address may be longer, and it has no colour.
        return [
            piece
            for line in lines
            for piece in (fold(line, width) if "\x1b" not in line and columns(line) > width else [line])
        ]


def _repaint(feed: Feed, environ: Mapping[str, str], colour: str) -> int:
    colours = terminal.wants_colour(sys.stdout, environ, colour)
    warning = config_warning(environ, feed.document) if feed.document else None
    with Screen(environ) as screen:
        watcher = _Watcher(feed, screen, colour=colours, warning=warning)
        others = [screen.wake, *([screen.keys] if screen.keys >= 0 else [])]
        next_tick = 0.0
        while True:
            if time.monotonic() >= next_tick:
                feed.poll()
                next_tick = time.monotonic() + _TICK_S
            watcher.paint()
            ready = feed.wait(max(0.0, next_tick - time.monotonic()), others)
            if screen.wake in ready:
                screen.heed()
            if screen.keys in ready and not watcher.press(screen.read_keys()):
                return EXIT_DONE


def _print(feed: Feed, environ: Mapping[str, str], *, as_json: bool, colour: str) -> int:
    if feed.document and (warning := config_warning(environ, feed.document)):
        terminal.say(warning)
    told: Any = None
    while True:
        document = feed.document
        if document is None:
            assert feed.problem is not None
            raise feed.problem
        news = document if as_json else _without_counters(document)
        if news != told:
            told = news
            if as_json:
                import json

                terminal.put_raw(json.dumps(document, separators=(",", ":")) + "\n")
            else:
                terminal.put_raw("".join(f"{line}\n" for line in _lines(document, environ, colour)) + "\n")
        feed.wait(_TICK_S)
        if not terminal.has_reader(sys.stdout):
            return EXIT_DONE


def _lines(document: StatusDocument, environ: Mapping[str, str], colour: str) -> list[str]:
    size = terminal.size(sys.stdout, environ)
    colours = terminal.wants_colour(sys.stdout, environ, colour)
    return view.status_lines(document, time.time(), width=size[0] if size else None, colour=colours)


def _without_counters(document: StatusDocument) -> Any:
    """What of a document is news when it changes."""
    return [document["daemon"]["config_problem"], *map(_tunnel_news, document["tunnels"])]


def _tunnel_news(tunnel: Mapping[str, Any]) -> Any:
    jupyter = tunnel["jupyter"]
    return [
        _leave_out(_TUNNEL_COUNTERS | {"forwards", "jupyter"}, tunnel),
        [_leave_out(_FORWARD_COUNTERS, forward) for forward in tunnel["forwards"]],
        _leave_out(_JUPYTER_COUNTERS, jupyter) if jupyter else None,
    ]


def _leave_out(names: frozenset[str], values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in names}
