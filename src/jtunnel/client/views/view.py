"""Lays the status out for a terminal: groups, columns, colours. Pure: document, time and width in, lines out.

Where a table does not fit, each tunnel has its address on a line of its own: an address that is cut
is none. The words come from `render`.
"""

from __future__ import annotations

from jtunnel.client.terminal import printable
from jtunnel.client.views import render, served
from jtunnel.client.views.measures import latency, moment, size, span
from jtunnel.client.views.width import columns, cut, pad, table, wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from jtunnel.status import StatusDocument, TunnelStatus

    #: Bytes a second that come in and go out, by the tunnel's name.
    Rates = Mapping[str, tuple[float, float]]

_COLOURS: Final[Mapping[str, str]] = {
    "up": "32",
    "connecting": "33",
    "starting": "33",
    "queued": "33",
    "retrying": "33",
    "blocked": "31",
    "down": "2",
}
_BOLD: Final = "1"
_DIM: Final = "2"
_GAP: Final = "  "
_BASE: Final[tuple[str, ...]] = ("NAME", "STATE", "SINCE", "ADDRESS", "HELD")
#: Columns for which there must be room, those that come first are the first to get it.
_MORE: Final[tuple[tuple[str, ...], ...]] = (("HOST",), ("LATENCY",), ("IN", "OUT"))
_SPEEDS: Final[tuple[str, ...]] = ("IN/S", "OUT/S")
_MORE_LIVE: Final[tuple[tuple[str, ...], ...]] = (_SPEEDS, ("HOST",), ("LATENCY",))
#: Columns that a speed takes.
_SPEED: Final = 6
_RIGHT: Final = frozenset({"LATENCY", "IN", "OUT", "IN/S", "OUT/S"})
_STATE: Final = 1


def status_lines(
    document: StatusDocument,
    now_s: float,
    *,
    width: int | None = None,
    colour: bool = False,
    rates: Rates | None = None,
) -> list[str]:
    """What `jtunnel status` shows; with a `width`, nothing but an address is wider.

    `rates` are shown instead of sums, by those who look again and again.
    """
    tunnels = document["tunnels"]
    lines: list[str] = []
    if len(tunnels) == 1:
        lines += _alone(tunnels[0], now_s, width, rates, colour=colour)
    elif tunnels:
        lines += _many(tunnels, now_s, width, rates, colour=colour)
    elif not document["daemon"]["config_problem"]:
        lines += wrap(f"no profiles yet; describe one in {document['daemon']['config_path']}", width)
    if problem := document["daemon"]["config_problem"]:
        lines += wrap(printable(f"config: {render.problem_text(problem)}"), width)
    return lines


def summary(document: StatusDocument) -> str:
    """How many tunnels are in which state, on one line."""
    counts: dict[str, int] = {}
    for tunnel in document["tunnels"]:
        word = "on demand" if render.is_at_rest(tunnel) else tunnel["state"]
        counts[word] = counts.get(word, 0) + 1
    order = [*_COLOURS, "on demand"]
    return ", ".join(f"{counts[word]} {word}" for word in sorted(counts, key=order.index))


def in_groups(tunnels: Sequence[TunnelStatus]) -> list[tuple[str, list[TunnelStatus]]]:
    """Tunnels under headings: those that need a person, then by first tag, in the config's order.

    Without any tag there is one group, which has no heading, and those that need a person come first in it.
    """
    blocked = [tunnel for tunnel in tunnels if tunnel["state"] == "blocked"]
    rest = [tunnel for tunnel in tunnels if tunnel["state"] != "blocked"]
    if not any(tunnel["tags"] for tunnel in tunnels):
        return [("", blocked + rest)]
    groups: dict[str, list[TunnelStatus]] = {}
    untagged: list[TunnelStatus] = []
    for tunnel in rest:
        (groups.setdefault(tunnel["tags"][0], []) if tunnel["tags"] else untagged).append(tunnel)
    found = [("blocked", blocked), *groups.items(), ("without a tag", untagged)]
    return [(heading, members) for heading, members in found if members]


def _alone(
    tunnel: TunnelStatus, now_s: float, width: int | None, rates: Rates | None, *, colour: bool
) -> list[str]:
    """One tunnel: its line, what else is known of it, its forwards, its troubles."""
    cells = _cells(tunnel, now_s, None)
    address = render.places(tunnel)[:1]
    head = [cells["NAME"], cells["STATE"], cells["SINCE"]]
    line = cut(_GAP.join(head), width)
    beside = _GAP.join([line, *address, cells["HELD"]]).rstrip()
    if width is None or columns(beside) <= width:
        lines = [_with_state(beside, len(head[0]) + len(_GAP), tunnel, colour=colour)]
    else:
        held = f"{_GAP}{cells['HELD']}" if cells["HELD"] else ""
        lines = [_with_state(cut(line + held, width), len(head[0]) + len(_GAP), tunnel, colour=colour)]
        lines += [_GAP + where for where in address]
    speeds = None if rates is None else rates.get(tunnel["name"], (0.0, 0.0))
    if facts := render.facts(tunnel, speeds):
        for fact in (facts, *served.server_lines(tunnel, now_s)):
            lines += [_paint(each, _DIM, colour=colour) for each in wrap(printable(fact), width, _GAP)]
    # One forward is its address, which stands above.
    others = [forward for forward in tunnel["forwards"] if forward["name"] != served.own_forward(tunnel)]
    if len(tunnel["forwards"]) > 1 and others:
        rows = [tuple(map(printable, render.forward_cells(forward))) for forward in others]
        name_width, kind_width, _ = table(rows)
        for name, kind, rest in rows:
            lines += wrap(f"{pad(name, name_width)}  {pad(kind, kind_width)}  {rest}", width, _GAP)
    return lines + _trouble_lines(tunnel, now_s, width)


def _many(
    tunnels: Sequence[TunnelStatus], now_s: float, width: int | None, rates: Rates | None, *, colour: bool
) -> list[str]:
    shown = {tunnel["name"]: _cells(tunnel, now_s, rates) for tunnel in tunnels}
    worded = {
        tunnel["name"]: cells | {"ADDRESS": printable(_address(tunnel, " forward"))}
        for tunnel, cells in zip(tunnels, shown.values(), strict=True)
    }
    live = rates is not None
    headings = _choose(list(shown.values()), width, live=live)
    if headings and headings == _choose(list(worded.values()), width, live=live):
        # Words cost no column.
        shown = worded
    stacked = headings is None
    headings = headings or _BASE[:3]
    rows = [[cells[heading] for heading in headings] for cells in shown.values()]
    # Speeds come and go with the traffic, and what is beside them should stay where it is.
    least = ["-" * (_SPEED if each in _SPEEDS else 0) for each in headings]
    widths = table([least, *rows] if stacked else [least, headings, *rows])
    lines = [] if stacked else [_paint(_row(headings, headings, widths), _DIM, colour=colour)]
    groups = in_groups(tunnels)
    for heading, members in groups:
        if heading and len(groups) > 1:
            lines += ["", _paint(cut(f"{heading}:", width), _BOLD, colour=colour)]
        for tunnel in members:
            cells = shown[tunnel["name"]]
            line = _row([cells[each] for each in headings], headings, widths)
            if stacked and cells["HELD"]:
                line += _GAP + cells["HELD"]
            line = cut(line, width) if stacked else line
            lines.append(_with_state(line, widths[0] + len(_GAP), tunnel, colour=colour))
            if stacked and cells["ADDRESS"]:
                lines.append(_GAP + cells["ADDRESS"])
            lines += _trouble_lines(tunnel, now_s, width)
    return lines[1:] if lines[0] == "" else lines


def _cells(tunnel: TunnelStatus, now_s: float, rates: Rates | None) -> dict[str, str]:
    """What each column says of a tunnel."""
    live = tunnel["state"] != "down"
    came, went = render.traffic(tunnel)
    speed_in, speed_out = (rates or {}).get(tunnel["name"], (0.0, 0.0))
    held = render.held(tunnel)
    cells = {
        "NAME": tunnel["name"],
        "STATE": render.state_word(tunnel),
        "SINCE": span(now_s - moment(tunnel["since"])),
        "ADDRESS": _address(tunnel),
        "HELD": render.waiting(held) if held else "",
        "HOST": render.route(tunnel) if live else "",
        "LATENCY": latency(tunnel["latency_ms"]) if tunnel["latency_ms"] is not None else "",
        "IN": size(came) if came else "",
        "OUT": size(went) if went else "",
        "IN/S": size(speed_in) if speed_in >= 1 else "",
        "OUT/S": size(speed_out) if speed_out >= 1 else "",
    }
    return {heading: printable(text) for heading, text in cells.items()}


def _address(tunnel: TunnelStatus, noun: str = "") -> str:
    """The first place where a tunnel is reached, and how many forwards it has besides."""
    server, forwards = served.server_of(tunnel), tunnel["forwards"]
    found = render.places(tunnel)
    if not found:
        return ""
    name = served.own_forward(tunnel)
    own = 1 if server is None or not server["url"] else sum(each["name"] == name for each in forwards)
    more = len(forwards) - own
    return f"{found[0]} +{more}{noun}{'s' if noun and more > 1 else ''}" if more > 0 else found[0]


def _choose(cells: Sequence[Mapping[str, str]], width: int | None, *, live: bool) -> tuple[str, ...] | None:
    """The columns that fit, empty ones left out; None where not even the first four do."""
    needed = {
        heading: max(len(heading), *(columns(each[heading]) for each in cells))
        for heading in cells[0]
        if any(each[heading] for each in cells)
    }
    if live:
        needed |= {heading: max(needed.get(heading, 0), _SPEED) for heading in _SPEEDS}
    chosen = [heading for heading in _BASE if heading in needed]
    used = sum(needed[heading] for heading in chosen) + len(_GAP) * (len(chosen) - 1)
    if width is None:
        return tuple(chosen)
    if used > width:
        return None
    for group in _MORE_LIVE if live else _MORE:
        fresh = [heading for heading in group if heading in needed]
        more = sum(needed[heading] + len(_GAP) for heading in fresh)
        if used + more <= width:
            chosen += fresh
            used += more
    return tuple(chosen)


def _row(cells: Sequence[str], headings: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        pad(cell, width, right=heading in _RIGHT)
        for cell, heading, width in zip(cells, headings, widths, strict=True)
    ]
    return _GAP.join(padded).rstrip()


def _trouble_lines(tunnel: TunnelStatus, now_s: float, width: int | None) -> list[str]:
    return [line for each in render.troubles(tunnel, now_s) for line in wrap(printable(each), width, _GAP)]


def _with_state(line: str, start: int, tunnel: TunnelStatus, *, colour: bool) -> str:
    """`line` with the state, which begins at column `start` of it, in its colour."""
    end = start + len(render.state_word(tunnel))
    before, word, after = line[:start], line[start:end], line[end:]
    return before + _paint(word, _COLOURS.get(tunnel["state"], "0"), colour=colour) + after


def _paint(text: str, code: str, *, colour: bool) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if colour and text else text
