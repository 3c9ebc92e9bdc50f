"""`status --format`: the tunnels in a line for a status bar, in the language of that bar.

A bar shows whatever it gets, so there is always a line and exit code 0, also without a daemon; only a
format that is none is an error. docs/status-bars.md has a line of config for each bar.
"""

from __future__ import annotations

import os
import sys
import time

from jtunnel.client import terminal
from jtunnel.client.connection import result_of
from jtunnel.client.dial import dial
from jtunnel.client.feed import Feed, selection
from jtunnel.client.views import render, served
from jtunnel.client.views.tally import FIELDS, Tally
from jtunnel.errors import EXIT_DONE, ConfigError, JTunnelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Final

    from jtunnel.status import TunnelStatus

#: A bar, and a shell's prompt, wait for this line.
ANSWER_S: Final = 2.0
#: How often it is looked whether the bar that reads the lines still runs.
_LISTENER_S: Final = 5.0
_GREEN: Final = "#5faf5f"
_YELLOW: Final = "#d7af00"
_RED: Final = "#ff5f5f"
_GREY: Final = "#808080"
#: What all tunnels come to, in one word → its colour.
_COLOURS: Final[Mapping[str, str]] = {
    "up": _GREEN,
    "connecting": _YELLOW,
    "retrying": _YELLOW,
    "blocked": _RED,
    "idle": _GREY,
    "off": _GREY,
}


def show_bar(
    environ: Mapping[str, str], *, names: Sequence[str], tags: Sequence[str], form: str, watch: bool
) -> int:
    """Print the line once or, with `watch`, again whenever it has changed, until nobody reads it.

    Raises ConfigError where `form` is neither a bar's name nor a template.
    """
    write = _find(form)
    if watch:
        return _follow(environ, names, tags, write, separator="~~~\n" if form == "xbar" else "")
    document, problem = None, ""
    try:
        with dial(environ) as connection:
            answer = connection.exchange("status", selection(names, tags), timeout_s=ANSWER_S)
        document = result_of(answer)
    except JTunnelError as error:
        problem = str(error)
    terminal.put_raw(write(Tally(document, problem)) + "\n")
    return EXIT_DONE


def waybar(tally: Tally) -> str:
    """One JSON object; text and tooltip are Pango markup (waybar-custom(5))."""
    import json

    lines = [_tooltip(tunnel) for tunnel in tally.tunnels]
    if not lines or tally.word == "off":
        lines = [tally.problem or "no profiles"]
    return json.dumps(
        {
            "text": _pango(tally.share),
            "alt": tally.word,
            "tooltip": "\n".join(_pango(terminal.printable(line)) for line in lines),
            "class": tally.word,
            "percentage": round(100 * tally.up / tally.wanted) if tally.wanted else 0,
        },
        ensure_ascii=False,
    )


def polybar(tally: Tally) -> str:
    """Text with colour tags; there is no way to escape one, so a `%{` of anybody else is taken apart."""
    pieces = [(_COLOURS[tally.word], tally.share)]
    pieces += [(_COLOURS[_kind(tunnel)], _brief(tunnel)) for tunnel in tally.troubled]
    return " ".join(f"%{{F{colour}}}{text.replace('%{', '% {')}%{{F-}}" for colour, text in pieces)


def tmux(tally: Tally) -> str:
    """Text with styles in `#[…]`; `##` is a `#` (tmux(1), STYLES and FORMATS)."""
    pieces = [(_COLOURS[tally.word], tally.share)]
    pieces += [(_COLOURS[_kind(tunnel)], _brief(tunnel)) for tunnel in tally.troubled]
    return " ".join(f"#[fg={colour}]{text.replace('#', '##')}#[default]" for colour, text in pieces)


def xbar(tally: Tally) -> str:
    """A line for the menu bar, and below `---` a menu whose entries call jtunnel."""
    program = _program()
    lines = [_entry(f"⇄ {tally.share}", color=_COLOURS[tally.word]), "---"]
    for tunnel in tally.tunnels:
        name, running = tunnel["name"], tunnel["state"] != "down"
        lines.append(_entry(_tooltip(tunnel), color=_COLOURS[_kind(tunnel)]))
        if (server := served.server_of(tunnel)) and (tunnel["jupyter"] or server["url"]):
            lines.append(_entry("--Open in the browser", program, "open", name))
        lines.append(
            _entry("--Take down", program, "down", name)
            if running
            else _entry("--Bring up", program, "up", name, "--no-wait")
        )
        lines += [_entry(f"--{trouble.lstrip('-')}") for trouble in render.troubles(tunnel, time.time())]
    if tally.word == "off" or not tally.tunnels:
        lines.append(_entry(tally.problem or "no profiles"))
    lines += ["---", _entry("Bring all up", program, "up", "--all", "--no-wait")]
    return "\n".join(lines)


def starship(tally: Tally) -> str:
    """Plain words, and none while all is well: a prompt has no room for good news."""
    return ", ".join(map(_brief, tally.troubled[:2])) + (
        f" +{len(tally.troubled) - 2}" if len(tally.troubled) > 2 else ""
    )


BARS: Final[Mapping[str, Callable[[Tally], str]]] = {
    "waybar": waybar,
    "polybar": polybar,
    "tmux": tmux,
    "xbar": xbar,
    "starship": starship,
}


def _find(form: str) -> Callable[[Tally], str]:
    if form in BARS:
        return BARS[form]

    def write(tally: Tally) -> str:
        return form.format_map(tally.fields())

    try:
        write(Tally(None))
    except (LookupError, ValueError, AttributeError, TypeError):
        pass
    else:
        if "{" in form:
            return write
    raise ConfigError(
        "usage",
        f"no such format: {form}",
        f"it is one of {', '.join(BARS)}, or a template of {' '.join(f'{{{field}}}' for field in FIELDS)}",
    )


def _follow(
    environ: Mapping[str, str],
    names: Sequence[str],
    tags: Sequence[str],
    write: Callable[[Tally], str],
    *,
    separator: str,
) -> int:
    shown: str | None = None
    try:
        with Feed(environ, selection(names, tags)) as feed:
            while True:
                feed.wait(_LISTENER_S)
                if feed.document is None and feed.problem is None:
                    continue
                line = write(Tally(feed.document, str(feed.problem or "")))
                if line != shown:
                    terminal.put_raw(f"{separator}{line}\n")
                    shown = line
                # A bar that has ended leaves its script behind.
                if not terminal.has_reader(sys.stdout):
                    return EXIT_DONE
    except KeyboardInterrupt:
        return EXIT_DONE


def _tooltip(tunnel: TunnelStatus) -> str:
    words = f"{tunnel['name']}: {render.state_word(tunnel)}"
    if tunnel["problem"]:
        return f"{words}: {render.problem_text(tunnel['problem'])}"
    where = render.addresses(tunnel)[:1] if tunnel["state"] == "up" or render.is_at_rest(tunnel) else []
    return " ".join([words, *where])


def _brief(tunnel: TunnelStatus) -> str:
    return f"{tunnel['name']} {tunnel['state']}"


def _kind(tunnel: TunnelStatus) -> str:
    """A tunnel's state as one of the words that have a colour."""
    if tunnel["state"] == "down":
        return "idle"
    return tunnel["state"] if tunnel["state"] in _COLOURS else "connecting"


def _pango(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _entry(title: str, program: str = "", *arguments: str, color: str = "") -> str:
    """One line of a menu; `|` begins its parameters, and `:word:` would become an emoji."""
    given = {"color": color} if color else {}
    if program:
        given |= {"bash": f'"{program}"', "terminal": "false", "refresh": "true"}
        given |= {f"param{number}": word for number, word in enumerate(arguments, 1)}
    given |= {"emojize": "false", "ansi": "false"}
    text = terminal.printable(title).replace("|", "¦")
    return f"{text} | {' '.join(f'{key}={value}' for key, value in given.items())}"


def _program() -> str:
    """The command, by its whole path: a menu bar has not the PATH of a shell."""
    beside = os.path.join(os.path.dirname(sys.executable), "jtunnel")
    return beside if os.path.exists(beside) else "jtunnel"
