"""How many columns text takes in a terminal, and text made to fit them. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ELLIPSIS = "…"


def columns(text: str) -> int:
    """The columns that `text` takes: a wide character two, a combining one none (UAX #11)."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def cut(text: str, width: int | None) -> str:
    """`text` in at most `width` columns, an ellipsis in place of what is missing."""
    if width is None or columns(text) <= width:
        return text
    return _head(text, width - 1) + _ELLIPSIS if width > 0 else ""


def pad(text: str, width: int, *, right: bool = False) -> str:
    """`text` cut or filled up to `width` columns, on the `right` side of them if so."""
    text = cut(text, width)
    room = " " * (width - columns(text))
    return room + text if right else text + room


def wrap(text: str, width: int | None, indent: str = "") -> list[str]:
    """`text` in lines of at most `width` columns, broken at spaces and in words that are longer."""
    if width is None or len(indent) + columns(text) <= width:
        return [indent + text]
    room = max(2, width - len(indent))
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if columns(longer) <= room:
            line = longer
            continue
        if line:
            lines.append(line)
        *whole, line = fold(word, room)
        lines += whole
    return [indent + each.rstrip() for each in (*lines, line) if each]


def fold(text: str, width: int) -> list[str]:
    """`text` in pieces of at most `width` columns, as a terminal breaks it."""
    pieces = []
    while columns(text) > width:
        # A wide character that does not fit a width of one is shown all the same.
        piece = _head(text, width) or text[:1]
        pieces.append(piece)
        text = text[len(piece) :]
    return [*pieces, text]


def table(rows: Sequence[Sequence[str]]) -> list[int]:
    """The width of each column of `rows`."""
    return [max(map(columns, cells)) for cells in zip(*rows, strict=True)]


def _head(text: str, width: int) -> str:
    return "".join(_take(text, width))


def _take(text: str, width: int) -> Iterator[str]:
    left = width
    for character in text:
        left -= _columns_of(character)
        if left < 0:
            return
        yield character


def _columns_of(character: str) -> int:
    if character.isascii():
        return 1
    # Names, addresses and states are ASCII: few calls need this module.
    import unicodedata

    if unicodedata.combining(character) or unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
