"""Where the client's words go: standard output and error, and how wide and colourful they may be.

Text from elsewhere is made printable first, so that no remote machine can drive the terminal.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final, TextIO

#: What a terminal that does not tell its size is taken for.
FALLBACK_SIZE: Final = (80, 24)


def put(line: str) -> None:
    """One line of the result, on standard output."""
    _write(sys.stdout, printable(line) + "\n")


def put_raw(text: str) -> None:
    """Text that is ready for standard output, newlines and colours included."""
    _write(sys.stdout, text)


def say(line: str) -> None:
    """One message to the person, on standard error."""
    say_raw(f"jtunnel: {printable(line)}\n")


def say_raw(text: str) -> None:
    """Text that is ready for standard error, newlines included."""
    try:
        _write(sys.stderr, text)
    except OSError:
        return  # nobody listens, and there is no other place to say so


def printable(text: str) -> str:
    """`text` on one line, with everything that could steer a terminal replaced."""
    if text.isprintable():
        return text
    spaced = text.expandtabs().replace("\n", " ")
    return "".join(character if character.isprintable() else "�" for character in spaced)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a person looks at `stream`."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:  # closed by whoever started us
        return False


def has_reader(stream: TextIO | None) -> bool:
    """Whether somebody can still read what goes to `stream`, such as the other end of a pipe."""
    import select

    if stream is None or is_terminal(stream):
        return True
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    return not poll.poll(0)


def can_repaint(stream: TextIO | None, environ: Mapping[str, str]) -> bool:
    """Whether `stream` is a terminal that can move its cursor."""
    return is_terminal(stream) and environ.get("TERM") != "dumb"


def wants_colour(stream: TextIO | None, environ: Mapping[str, str], choice: str = "auto") -> bool:
    """Whether to colour what goes to `stream`; `choice` is `auto`, `always` or `never`.

    For `auto`, a NO_COLOR that is not empty forbids it (no-color.org), and a CLICOLOR_FORCE that is
    neither empty nor 0 wants it where there is no terminal, too (bixense.com/clicolors).
    """
    if choice != "auto":
        return choice == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("CLICOLOR_FORCE", "0") not in ("", "0"):
        return True
    return can_repaint(stream, environ) and environ.get("CLICOLOR") != "0"


def size(stream: TextIO | None, environ: Mapping[str, str]) -> tuple[int, int] | None:
    """Columns and rows of the terminal behind `stream`; None where nothing limits a line.

    `COLUMNS` counts only where there is no terminal: an exported one is stale after a resize.
    """
    columns = environ.get("COLUMNS", "")
    given = int(columns) if columns.isdecimal() and int(columns) > 0 else None
    if stream is None or not is_terminal(stream):
        return (given, FALLBACK_SIZE[1]) if given else None
    try:
        width, height = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        width, height = 0, 0
    return (width or given or FALLBACK_SIZE[0], height or FALLBACK_SIZE[1])


def _write(stream: TextIO | None, text: str) -> None:
    if stream is not None:
        stream.write(text)
        stream.flush()
