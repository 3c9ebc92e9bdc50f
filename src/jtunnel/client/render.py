"""Turns the status document into text. Pure: document, time and width in, lines out."""

from __future__ import annotations

from jtunnel.client.terminal import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Final

    from jtunnel.status import Problem, StatusDocument, TunnelStatus

_COLOURS: Final[Mapping[str, str]] = {
    "up": "32",
    "connecting": "33",
    "starting": "33",
    "queued": "33",
    "retrying": "33",
    "blocked": "31",
    "down": "2",
}
_HEADINGS: Final = ("NAME", "STATE", "SINCE", "ADDRESS")
_GAP: Final = "  "
#: What a name and an address are cut to at most, before whole lines are.
_NARROWEST: Final = (4, 0, 0, 8)
_JUPYTER_WORDS: Final[Mapping[str, str]] = {
    "searching": "looking for Jupyter",
    "starting": "starting JupyterLab",
    "queued": "waiting for its batch job",
    "not-answering": "waiting for Jupyter to answer",
}


def status_lines(
    document: StatusDocument, now_s: float, *, width: int | None = None, colour: bool = False
) -> list[str]:
    """The table of `jtunnel status`; with a `width`, nothing in it is wider."""
    tunnels = document["tunnels"]
    lines: list[str] = []
    if tunnels:
        rows = [
            (t["name"], t["state"], span(now_s - moment(t["since"])), " ".join(addresses(t)[:1]))
            for t in tunnels
        ]
        widths = _fit([max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)], width)
        lines.append(_row(_HEADINGS, widths, width))
        for tunnel, row in zip(tunnels, rows, strict=True):
            line = _row(tuple(map(printable, row)), widths, width)
            lines.append(_coloured(line, widths, tunnel["state"]) if colour else line)
            lines += _wrap(troubles(tunnel, now_s), width)
    elif not document["daemon"]["config_problem"]:
        lines += _wrap([f"no profiles yet; describe one in {document['daemon']['config_path']}"], width, "")
    if problem := document["daemon"]["config_problem"]:
        lines += _wrap([f"config: {problem_text(problem)}"], width, "")
    return lines


def troubles(tunnel: TunnelStatus, now_s: float) -> list[str]:
    """What is wrong with a tunnel and its forwards, a sentence each."""
    found = []
    if problem := tunnel["problem"]:
        text = problem_text(problem)
        if (left_s := _until_retry_s(tunnel, now_s)) > 0:
            text += f"; next try in {span(left_s)}"
        found.append(text)
    return found + forward_troubles(tunnel)


def forward_troubles(tunnel: TunnelStatus) -> list[str]:
    """The problems of a tunnel's forwards that are not the tunnel's own."""
    return [
        f"forward {forward['name']}: {problem_text(problem)}"
        for forward in tunnel["forwards"]
        if (problem := forward["problem"]) and problem != tunnel["problem"]
    ]


def problem_text(problem: Problem) -> str:
    """What happened, then what to do."""
    return f"{problem['message']}; {problem['advice']}" if problem["advice"] else problem["message"]


def addresses(tunnel: TunnelStatus) -> list[str]:
    """Where a tunnel is reached on this machine: Jupyter's URL, else its listening sides."""
    jupyter = tunnel["jupyter"]
    if jupyter is not None and jupyter["url"]:
        return [jupyter["url"]]
    local = [forward for forward in tunnel["forwards"] if forward["kind"] != "remote"]
    # Once something listens, what does not is no address to go to.
    listening = [forward["listen"] for forward in local if forward["listening"]]
    return listening or [forward["listen"] for forward in local]


def activity(tunnel: TunnelStatus) -> str:
    """What a tunnel is doing, without times: it changes only when the tunnel does."""
    state, jupyter, problem = tunnel["state"], tunnel["jupyter"], tunnel["problem"]
    if state == "connecting":
        return f"connecting to {tunnel['alias']}"
    if state == "starting":
        return _JUPYTER_WORDS.get(jupyter["state"] if jupyter else "", "starting")
    if state == "queued":
        return _JUPYTER_WORDS["queued"]
    if state in ("retrying", "blocked") and problem:
        return f"{state}: {problem['message']}"
    return state


def progress(tunnel: TunnelStatus, now_s: float) -> str:
    """What a tunnel is doing, with the seconds it took so far or that are left."""
    state, problem = tunnel["state"], tunnel["problem"]
    if state in ("connecting", "starting", "queued"):
        return f"{activity(tunnel)}, {span(now_s - moment(tunnel['since']), seconds=' s')}…"
    if state == "retrying" and problem:
        left_s = _until_retry_s(tunnel, now_s)
        when = f"retrying in {span(left_s, seconds=' s')}" if left_s > 0 else "trying again"
        return f"{when}: {problem['message']}"
    if state == "up":
        return "up" + _GAP + ", ".join(addresses(tunnel))
    return activity(tunnel)


def span(seconds_s: float, *, seconds: str = "s") -> str:
    """A duration in its largest unit: 12s, 3m, 5h, 2d."""
    whole_s = max(0, int(seconds_s))
    if whole_s < 60:
        return f"{whole_s}{seconds}"
    if whole_s < 3600:
        return f"{whole_s // 60}m"
    return f"{whole_s // 3600}h" if whole_s < 86400 else f"{whole_s // 86400}d"


def moment(iso: str) -> float:
    """Seconds since 1970 of a UTC time such as 2026-11-22T04:00:00Z.

    Worked out by hand, since importing datetime would cost each `status` some of its start-up time.
    """
    year, month, day = int(iso[0:4]), int(iso[5:7]), int(iso[8:10])
    # Years that begin in March have their leap day last, and months then follow one formula.
    if month < 3:
        year, month = year - 1, month + 12
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 719469
    return days * 86400 + int(iso[11:13]) * 3600 + int(iso[14:16]) * 60 + float(iso[17:].rstrip("Z"))


def cut(text: str, width: int | None) -> str:
    """`text` in at most `width` columns, an ellipsis in place of what is missing."""
    if width is None or len(text) <= width:
        return text
    return text[: max(0, width - 1)] + "…" if width > 0 else ""


def _until_retry_s(tunnel: TunnelStatus, now_s: float) -> float:
    retry_at = tunnel["retry_at"]
    # Rounded up, so that the last second counts as one and not as none.
    return -((now_s - moment(retry_at)) // 1) if retry_at else 0.0


def _fit(widths: list[int], width: int | None) -> list[int]:
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - width if width is not None else 0
    for column in (3, 0):
        spare = max(0, min(excess, widths[column] - _NARROWEST[column]))
        widths[column] -= spare
        excess -= spare
    return widths


def _row(cells: Sequence[str], widths: Sequence[int], width: int | None) -> str:
    padded = [cut(cell, size).ljust(size) for cell, size in zip(cells, widths, strict=True)]
    return cut(_GAP.join(padded).rstrip(), width)


def _coloured(line: str, widths: Sequence[int], state: str) -> str:
    start = widths[0] + len(_GAP)
    end = start + len(state)
    return f"{line[:start]}\x1b[{_COLOURS.get(state, '0')}m{line[start:end]}\x1b[0m{line[end:]}"


def _wrap(paragraphs: Sequence[str], width: int | None, indent: str = _GAP) -> list[str]:
    lines: list[str] = []
    for paragraph in map(printable, paragraphs):
        if width is None or len(indent) + len(paragraph) <= width:
            lines.append(indent + paragraph)
            continue
        import textwrap

        room = max(width, len(indent) + 1)
        lines += textwrap.wrap(paragraph, room, initial_indent=indent, subsequent_indent=indent)
    return lines
