"""Lays out the history of tunnels: availability, bar pictures, outages. Pure but for the time zone."""

from __future__ import annotations

import time

from jtunnel.client.terminal import printable
from jtunnel.client.views.measures import moment, span
from jtunnel.client.views.width import cut, pad, table, wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Final

#: From never up to nearly always; the last is for what was always up, and for nothing else.
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_DIGITS: Final = "0123456789#"
_UNKNOWN: Final = ("·", ".")
_GREEN, _YELLOW, _RED, _DIM, _BOLD = "32", "33", "31", "2", "1"
_COLOURS: Final[Mapping[str, str]] = {"up": _GREEN, "blocked": _RED, "down": _DIM}
_INDENT: Final = "  "
_HEADINGS: Final = ("WHEN", "AGO", "LENGTH", "CAUSE")
#: Outages that are shown of one tunnel, and of each where there are several.
_MOST_ALONE: Final = 15
_MOST_EACH: Final = 3
#: Below so many columns it is not said how long ago an outage was.
_NARROW: Final = 60
#: Columns that a cause has at least, or it is cut.
_NARROWEST_CAUSE: Final = 12


def history_lines(
    history: Mapping[str, Any],
    *,
    width: int | None = None,
    colour: bool = False,
    ascii_only: bool = False,
) -> list[str]:
    """What `jtunnel history` shows; with a `width`, nothing in it is wider."""
    now_s = moment(history["at"])
    tunnels = history["tunnels"]
    most = _MOST_ALONE if len(tunnels) == 1 else _MOST_EACH
    lines: list[str] = []
    for tunnel in tunnels:
        name = printable(tunnel["name"])
        heading = cut(name, None if width is None else width - len(tunnel["state"]) - len(_INDENT))
        state = _paint(tunnel["state"], _COLOURS.get(tunnel["state"], _YELLOW), colour=colour)
        lines += ["", f"{_paint(heading, _BOLD, colour=colour)}{_INDENT}{state}"]
        for label, part in (("24 hours", tunnel["day"]), ("7 days", tunnel["week"])):
            lines.append(_availability(label, part, width, colour=colour, ascii_only=ascii_only))
        lines += _outages(name, tunnel["outages"], most, now_s, width, colour=colour)
    return lines[1:] or ["no profiles yet"]


def picture(bars: Sequence[float | None], *, colour: bool = False, ascii_only: bool = False) -> str:
    """One character a bar, the newest last."""
    ramp = _DIGITS if ascii_only else _BLOCKS
    drawn = []
    for bar in bars:
        if bar is None:
            drawn.append(_paint(_UNKNOWN[ascii_only], _DIM, colour=colour))
        else:
            code = _GREEN if bar >= 1 else _YELLOW if bar >= 0.5 else _RED
            drawn.append(_paint(ramp[int(bar * (len(ramp) - 1))], code, colour=colour))
    return "".join(drawn)


def percent(share: float | None) -> str:
    """`100 %` for always, `99.98 %`, `87.3 %`; rounded down."""
    if share is None:
        return "-"
    if share >= 1:
        return "100 %"
    digits = 2 if share >= 0.99 else 1
    scale = 10 ** (digits + 2)
    # 0.29 times 100 is less than 29.
    return f"{int(share * scale + 1e-6) / 10**digits:.{digits}f} %"


def length(seconds_s: float) -> str:
    """`0.4 s`, `12 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`."""
    if seconds_s < 10:
        return f"{seconds_s:.1f} s"
    whole_s = round(seconds_s)
    if whole_s < 60:
        return f"{whole_s} s"
    if whole_s < 3600:
        return f"{whole_s // 60} min {whole_s % 60} s"
    if whole_s < 86400:
        return f"{whole_s // 3600} h {whole_s % 3600 // 60} min"
    return f"{whole_s // 86400} d {whole_s % 86400 // 3600} h"


def local_time(at_s: float, now_s: float) -> str:
    """`14:03` today, `Sat 14:03` within a week, else `2026-11-02 14:03`."""
    then, today = time.localtime(at_s), time.localtime(now_s)
    clock = time.strftime("%H:%M", then)
    if then[:3] == today[:3]:
        return clock
    if 0 <= now_s - at_s < 6 * 86400:
        return f"{('Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun')[then.tm_wday]} {clock}"
    return time.strftime("%Y-%m-%d ", then) + clock


def _availability(
    label: str, part: Mapping[str, Any], width: int | None, *, colour: bool, ascii_only: bool
) -> str:
    line = f"{_INDENT}{label:<8}{_INDENT}{percent(part['availability']):>7}{_INDENT}"
    wanted_s = part.get("wanted_seconds")  # an older daemon does not say
    of = f"{_INDENT}of {length(wanted_s)} wanted" if wanted_s else ""
    if width is not None and len(line) + len(part["bars"]) + len(of) > width:
        of = ""
    room = len(part["bars"]) if width is None else max(0, width - len(line))
    # Where there is no room for all, the oldest are left out.
    bars = part["bars"][-room:] if room else []
    drawn = picture(bars, colour=colour, ascii_only=ascii_only)
    return cut(line.rstrip() if not bars else line, width) + drawn + of


def _outages(
    name: str,
    outages: Sequence[Mapping[str, Any]],
    most: int,
    now_s: float,
    width: int | None,
    *,
    colour: bool,
) -> list[str]:
    if not outages:
        return [_INDENT + "no outages"]
    rows: list[tuple[str, ...]] = [_HEADINGS, *(_row(outage, now_s) for outage in outages[:most])]
    if width is not None and width < _NARROW:
        rows = [(when, lasted, cause) for when, _, lasted, cause in rows]
    widths = table(rows)
    lines = []
    for row in rows:
        cells = [pad(cell, size) for cell, size in zip(row[:-1], widths, strict=False)]
        before = _INDENT + _INDENT.join([*cells, ""])
        room = _NARROWEST_CAUSE if width is None else width - len(before)
        if room < _NARROWEST_CAUSE:
            causes = [cut(row[-1], room)]
        else:
            causes = wrap(row[-1], None if width is None else room)
        shown = [cut(before + causes[0], width), *(" " * len(before) + cause for cause in causes[1:])]
        lines += [_paint(line, _DIM, colour=colour and row is rows[0]) for line in shown]
    if len(outages) > most:
        more = f"{len(outages) - most} more: jtunnel history {name}{' --json' if most == _MOST_ALONE else ''}"
        lines += wrap(more, width, _INDENT)
    return lines


def _row(outage: Mapping[str, Any], now_s: float) -> tuple[str, str, str, str]:
    since_s = moment(outage["from"])
    lasted = length(outage["seconds"]) + ("" if outage["until"] else " so far")
    cause = printable(outage["message"] or outage["kind"] or "restarted, or checked anew")
    return local_time(since_s, now_s), span(now_s - since_s), lasted, cause


def _paint(text: str, code: str, *, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour and text else text
