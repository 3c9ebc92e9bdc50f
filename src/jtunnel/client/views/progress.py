"""Shows how tunnels come up: lines repainted in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys

from jtunnel.client import terminal
from jtunnel.client.views import render
from jtunnel.client.views.width import cut

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jtunnel.status import TunnelStatus


class Progress:
    """The lines on standard error that follow some tunnels."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._repaints = terminal.can_repaint(sys.stderr, environ)
        self._painted = 0
        self._told: dict[str, str] = {}

    def show(self, tunnels: Sequence[TunnelStatus], now_s: float) -> None:
        """Bring what is shown up to date."""
        if self._repaints:
            self._paint(self._lines(tunnels, now_s))
        else:
            self._tell(tunnels)

    def clear(self) -> None:
        """Take the painted lines away; plain lines stay."""
        if self._painted:
            self._paint([])

    def leave(self) -> None:
        """Let the painted lines stand; what is shown next goes below them."""
        self._painted = 0

    def _lines(self, tunnels: Sequence[TunnelStatus], now_s: float) -> list[str]:
        width, height = terminal.size(sys.stderr, self._environ) or terminal.FALLBACK_SIZE
        room = max(1, height - 1)
        longest = max((len(tunnel["name"]) for tunnel in tunnels), default=0)
        shown = list(tunnels)
        if len(shown) > room:
            # The ones still on their way matter most; the sort keeps their order otherwise.
            shown = sorted(shown, key=lambda tunnel: tunnel["state"] == "up")[: room - 1]
        lines = [f"{tunnel['name']:<{longest}}  {render.progress(tunnel, now_s)}" for tunnel in shown]
        if len(shown) < len(tunnels):
            lines.append(f"… and {len(tunnels) - len(shown)} more")
        return [cut(terminal.printable(line), width - 1) for line in lines]

    def _paint(self, lines: list[str]) -> None:
        up = f"\x1b[{self._painted}A" if self._painted else ""
        text = "".join(f"{line}\x1b[K\n" for line in lines)
        sys.stderr.write(f"{up}\r{text}\x1b[J")
        sys.stderr.flush()
        self._painted = len(lines)

    def _tell(self, tunnels: Sequence[TunnelStatus]) -> None:
        for tunnel in tunnels:
            activity = render.activity(tunnel)
            # How a tunnel ended, the command itself reports; before its first step it is down.
            if (
                tunnel["state"] not in ("up", "blocked", "down")
                and self._told.get(tunnel["name"]) != activity
            ):
                terminal.say(f"{tunnel['name']}: {activity}")
            self._told[tunnel["name"]] = activity
