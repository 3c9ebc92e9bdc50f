"""`history`: what the daemon knows of past outages, and of how much tunnels were up; `past` lays it out."""

from __future__ import annotations

import sys

from jtunnel.client import terminal
from jtunnel.client.dial import dial
from jtunnel.errors import EXIT_DONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Final

#: What Python puts into the environment by itself where no locale is set (PEP 538).
_COERCED: Final = frozenset({"C.UTF-8", "C.utf8", "UTF-8"})


def show_history(
    environ: Mapping[str, str], *, names: Sequence[str], tags: Sequence[str], as_json: bool, colour: str
) -> int:
    """Print what became of all tunnels, or of those with one of `names` and `tags`."""
    params = {key: list(values) for key, values in (("names", names), ("tags", tags)) if values}
    with dial(environ) as connection:
        history: dict[str, Any] = connection.call("history", params)
    if as_json:
        import json

        terminal.put_raw(json.dumps(history, indent=2) + "\n")
        return EXIT_DONE
    from jtunnel.client.views.past import history_lines

    size = terminal.size(sys.stdout, environ)
    lines = history_lines(
        history,
        width=size[0] if size else None,
        colour=terminal.wants_colour(sys.stdout, environ, colour),
        ascii_only=not shows_blocks(environ),
    )
    terminal.put_raw("".join(f"{line}\n" for line in lines))
    return EXIT_DONE


def shows_blocks(environ: Mapping[str, str]) -> bool:
    """Whether a terminal has the characters of a bar picture: one with UTF-8, and not Linux's own console."""
    if environ.get("TERM") in ("dumb", "linux"):
        return False
    variables = [environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG")]
    if variables[1] in _COERCED:
        variables[1] = ""
    locale = next(filter(None, variables), "")
    return locale.upper().replace("-", "").endswith(("UTF8", "UTF8@EURO"))
